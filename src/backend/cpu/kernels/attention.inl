// Attention kernels over the wrapper of a vec_<isa>.h and the rows of cache_rows.inl. Included by isa_<isa>.cc after
// these, inside namespace minicpm::cpu::<isa>.

// ---- many queries: lanes are queries -------------------------------------------------------------------------------

/// Rows become columns. Each round interleaves the first half of the rows with the second.
MINICPM_INLINE void transpose(Vec (&rows)[kLanes]) {
  for (int round = 1; round < kLanes; round *= 2) {
    Vec zipped[kLanes];
    for (int i = 0; i < kLanes / 2; ++i) {
      zipped[2 * i] = zip_low(rows[i], rows[i + kLanes / 2]);
      zipped[2 * i + 1] = zip_high(rows[i], rows[i + kLanes / 2]);
    }
    for (int i = 0; i < kLanes; ++i)
      rows[i] = zipped[i];
  }
}

static void rows_to_lanes(float* lanes, int64_t stride, const float* const* rows, int64_t n, float factor) {
  for_lanes(n, [=](int64_t i, auto part) {
    Vec block[kLanes];
    for (int j = 0; j < kLanes; ++j)
      block[j] = load(rows[j] + i, part) * set1(factor);
    transpose(block);
    for (int64_t j = 0; j < kLanes && i + j < n; ++j)
      store(lanes + (i + j) * stride, block[j]);
  });
}

static void lanes_to_rows(float* const* rows, const float* lanes, int64_t stride, int64_t n, const float* factors) {
  const Vec factor = load(factors);
  for_lanes(n, [=](int64_t i, auto part) {
    Vec block[kLanes];
    for (int64_t j = 0; j < kLanes; ++j)
      block[j] = i + j < n ? load(lanes + (i + j) * stride) * factor : zero();
    transpose(block);
    for (int j = 0; j < kLanes; ++j)
      store(rows[j] + i, block[j], part);
  });
}

/// tile = q^T k for kTileRows keys: [kTileRows][lanes].
template <int kVectors>
static void score_tile(float* tile, const float* q, const float* k, int64_t stride, int64_t head_dim) {
  constexpr int kWidth = kVectors * kLanes;
  Vec sums[kTileRows][kVectors];
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = zero();
  }
  for (int64_t i = 0; i < head_dim; ++i) {
    Vec query[kVectors];
    for (int v = 0; v < kVectors; ++v)
      query[v] = load(q + i * kWidth + v * kLanes);
    for (int r = 0; r < kTileRows; ++r) {
      const Vec key = set1(k[r * stride + i]);
      for (int v = 0; v < kVectors; ++v)
        sums[r][v] = fma(key, query[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v)
      store(tile + r * kWidth + v * kLanes, sums[r][v]);
  }
}

/// out = out * factor + v^T weights for kTileRows columns of v: [kTileRows][lanes].
template <int kVectors>
static void value_tile(float* out, const Vec* factor, const float* weights, const float* v, int64_t stride,
                       int64_t keys) {
  constexpr int kWidth = kVectors * kLanes;
  Vec sums[kTileRows][kVectors];
  for (int r = 0; r < kTileRows; ++r) {
    for (int j = 0; j < kVectors; ++j)
      sums[r][j] = load(out + r * kWidth + j * kLanes) * factor[j];
  }
  for (int64_t i = 0; i < keys; ++i) {
    Vec weight[kVectors];
    for (int j = 0; j < kVectors; ++j)
      weight[j] = load(weights + i * kWidth + j * kLanes);
    for (int r = 0; r < kTileRows; ++r) {
      const Vec value = set1(v[i * stride + r]);
      for (int j = 0; j < kVectors; ++j)
        sums[r][j] = fma(value, weight[j], sums[r][j]);
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int j = 0; j < kVectors; ++j)
      store(out + r * kWidth + j * kLanes, sums[r][j]);
  }
}

/// Scores of keys that a query may not see become minus infinity, which weighs 0.
template <int kVectors>
static void hide_scores(const AttentionStep& step) {
  constexpr int kWidth = kVectors * kLanes;
  for (int64_t n = 0; n < step.keys; ++n) {
    float* row = step.scores + n * kWidth;
    for (int v = 0; v < kVectors; ++v) {
      const Mask sees = set1(static_cast<float>(n)) < load(step.visible + v * kLanes);
      store(row + v * kLanes, select(sees, load(row + v * kLanes), set1(-__builtin_inff())));
    }
  }
}

/// Turns scores into weights relative to the new highest score; factor = what the sums so far shrink by.
template <int kVectors>
static void weigh_scores(const AttentionStep& step, Vec* factor) {
  constexpr int kWidth = kVectors * kLanes;
  Vec highest[kVectors], total[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    highest[v] = load(step.highest + v * kLanes);
    total[v] = zero();
  }
  for (int64_t n = 0; n < step.keys; ++n) {
    for (int v = 0; v < kVectors; ++v)
      highest[v] = max(highest[v], load(step.scores + n * kWidth + v * kLanes));
  }
  for (int64_t n = 0; n < step.keys; ++n) {
    for (int v = 0; v < kVectors; ++v) {
      float* score = step.scores + n * kWidth + v * kLanes;
      const Vec weight = exp2(load(score) - highest[v]);
      store(score, weight);
      total[v] = total[v] + weight;
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    factor[v] = exp2(load(step.highest + v * kLanes) - highest[v]);
    store(step.highest + v * kLanes, highest[v]);
    store(step.total + v * kLanes, fma(load(step.total + v * kLanes), factor[v], total[v]));
  }
}

template <int kVectors>
static void attend_panel(const AttentionStep& step) {
  constexpr int kWidth = kVectors * kLanes;
  for (int64_t n = 0; n < step.keys; n += kTileRows)
    score_tile<kVectors>(step.scores + n * kWidth, step.q, step.k + n * step.stride, step.stride, step.head_dim);
  if (step.visible != nullptr) hide_scores<kVectors>(step);
  Vec factor[kVectors];
  weigh_scores<kVectors>(step, factor);
  for (int64_t i = 0; i < step.head_dim; i += kTileRows)
    value_tile<kVectors>(step.out + i * kWidth, factor, step.scores, step.v + i, step.stride, step.keys);
}

static void attend(const AttentionStep& step) {
  if (step.vectors == kTileVectors) {
    attend_panel<kTileVectors>(step);
  } else {
    attend_panel<1>(step);
  }
}

// ---- few queries: lanes are columns --------------------------------------------------------------------------------

/// Starts to read `bytes` bytes from byte `offset` of `next` on, if there is a next.
MINICPM_INLINE void prefetch(const void* next, int64_t offset, int64_t bytes) {
  if (next == nullptr) return;
  for (int64_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(static_cast<const char*>(next) + offset + i);
}

/// Scores of kQueries queries and kKeys keys.
template <typename Rows, int kQueries, int kKeys>
MINICPM_INLINE void score_block(float* scores, int64_t score_stride, const float* q, const char* k, int64_t head_dim) {
  const int64_t row_bytes = Rows::bytes(head_dim);
  Vec sums[kQueries][kKeys];
  for (int a = 0; a < kQueries; ++a) {
    for (int b = 0; b < kKeys; ++b)
      sums[a][b] = zero();
  }
  const auto step = [&](int64_t i, auto part) {
    Vec key[kKeys];
    for (int b = 0; b < kKeys; ++b)
      key[b] = Rows::read(k + b * row_bytes, i, part);
    for (int a = 0; a < kQueries; ++a) {
      const Vec query = load(q + a * head_dim + i, part);
      for (int b = 0; b < kKeys; ++b)
        sums[a][b] = fma(query, key[b], sums[a][b]);
    }
  };
  int64_t i = 0;
  for (; i + kLanes <= head_dim; i += kLanes)
    step(i, Whole{});
  if (i < head_dim) step(i, First{static_cast<int>(head_dim - i)});
  for (int a = 0; a < kQueries; ++a) {
    for (int b = 0; b < kKeys; ++b)
      scores[a * score_stride + b] = sum(sums[a][b]);
  }
}

template <typename Rows, int kQueries>
static void score_queries(float* scores, int64_t score_stride, const float* q, const char* k, int64_t keys,
                          int64_t head_dim, const void* next) {
  constexpr int kKeys = 4;
  const int64_t row_bytes = Rows::bytes(head_dim);
  int64_t n = 0;
  for (; n + kKeys <= keys; n += kKeys) {
    prefetch(next, n * row_bytes, kKeys * row_bytes);
    score_block<Rows, kQueries, kKeys>(scores + n, score_stride, q, k + n * row_bytes, head_dim);
  }
  for (; n < keys; ++n)
    score_block<Rows, kQueries, 1>(scores + n, score_stride, q, k + n * row_bytes, head_dim);
}

template <typename Rows>
static void score_rows(float* scores, int64_t score_stride, const float* q, int64_t queries, const void* keys_data,
                       int64_t keys, int64_t head_dim, const void* next) {
  const char* k = static_cast<const char*>(keys_data);
  for (int64_t a = 0; a < queries; next = nullptr) {  // the first pass over the keys has prefetched
    float* row = scores + a * score_stride;
    const float* query = q + a * head_dim;
    if (queries - a >= 4) {
      score_queries<Rows, 4>(row, score_stride, query, k, keys, head_dim, next);
      a += 4;
    } else if (queries - a == 3) {
      score_queries<Rows, 3>(row, score_stride, query, k, keys, head_dim, next);
      a += 3;
    } else if (queries - a == 2) {
      score_queries<Rows, 2>(row, score_stride, query, k, keys, head_dim, next);
      a += 2;
    } else {
      score_queries<Rows, 1>(row, score_stride, query, k, keys, head_dim, next);
      a += 1;
    }
  }
}

static void exp2_row(float* scores, int64_t n, float* highest, float* total) {
  Vec top = set1(kLowestScore);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    top = max(top, load(scores + i));
  float h = max_of(top);
  for (; i < n; ++i)
    h = h < scores[i] ? scores[i] : h;
  *highest = h;
  Vec sums = zero();
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const Vec weight = exp2(load(scores + i) - set1(h));
    store(scores + i, weight);
    sums = sums + weight;
  }
  *total = sum(sums);
  if (i < n) {
    const First part{static_cast<int>(n - i)};
    store(scores + i, exp2(load(scores + i, part) - set1(h)), part);
    for (; i < n; ++i)
      *total += scores[i];
  }
}

/// kVectors vectors of columns from `first` on for kQueries queries.
template <typename Rows, int kQueries, int kVectors, typename Part>
MINICPM_INLINE void add_value_block(float* out, const float* weights, int64_t weight_stride, const char* v,
                                    int64_t keys, int64_t head_dim, const void* next, int64_t first, Part part) {
  const int64_t row_bytes = Rows::bytes(head_dim);
  Vec sums[kQueries][kVectors];
  for (int a = 0; a < kQueries; ++a) {
    for (int b = 0; b < kVectors; ++b)
      sums[a][b] = load(out + a * head_dim + first + b * kLanes, part);
  }
  for (int64_t n = 0; n < keys; ++n) {
    prefetch(next, n * row_bytes, row_bytes);
    Vec weight[kQueries];
    for (int a = 0; a < kQueries; ++a)
      weight[a] = set1(weights[a * weight_stride + n]);
    for (int b = 0; b < kVectors; ++b) {
      const Vec value = Rows::read(v + n * row_bytes, first + b * kLanes, part);
      for (int a = 0; a < kQueries; ++a)
        sums[a][b] = fma(weight[a], value, sums[a][b]);
    }
  }
  for (int a = 0; a < kQueries; ++a) {
    for (int b = 0; b < kVectors; ++b)
      store(out + a * head_dim + first + b * kLanes, sums[a][b], part);
  }
}

/// Columns [i, head_dim): kVectors vectors at a time, the rest with half as many.
template <typename Rows, int kQueries, int kVectors>
MINICPM_INLINE void add_value_columns(float* out, const float* weights, int64_t weight_stride, const char* v,
                                      int64_t keys, int64_t head_dim, const void* next, int64_t i) {
  for (; i + kVectors * kLanes <= head_dim; i += kVectors * kLanes, next = nullptr)
    add_value_block<Rows, kQueries, kVectors>(out, weights, weight_stride, v, keys, head_dim, next, i, Whole{});
  if constexpr (kVectors > 1) {
    add_value_columns<Rows, kQueries, kVectors / 2>(out, weights, weight_stride, v, keys, head_dim, next, i);
  } else if (i < head_dim) {
    const First part{static_cast<int>(head_dim - i)};
    add_value_block<Rows, kQueries, 1>(out, weights, weight_stride, v, keys, head_dim, next, i, part);
  }
}

template <typename Rows, int kQueries>
static void add_value_queries(float* out, const float* weights, int64_t weight_stride, const char* v, int64_t keys,
                              int64_t head_dim, const void* next) {
  // A power of two: what is left takes half as many.
  constexpr int kVectors = kQueries > 2 ? kRowSums / 4 : kRowSums / 2;
  add_value_columns<Rows, kQueries, kVectors>(out, weights, weight_stride, v, keys, head_dim, next, 0);
}

template <typename Rows>
static void add_value_rows(float* out, const float* weights, int64_t weight_stride, int64_t queries, const void* values,
                           int64_t keys, int64_t head_dim, const void* next) {
  const char* v = static_cast<const char*>(values);
  for (int64_t a = 0; a < queries; next = nullptr) {
    float* sums = out + a * head_dim;
    const float* row = weights + a * weight_stride;
    if (queries - a >= 4) {
      add_value_queries<Rows, 4>(sums, row, weight_stride, v, keys, head_dim, next);
      a += 4;
    } else if (queries - a == 3) {
      add_value_queries<Rows, 3>(sums, row, weight_stride, v, keys, head_dim, next);
      a += 3;
    } else if (queries - a == 2) {
      add_value_queries<Rows, 2>(sums, row, weight_stride, v, keys, head_dim, next);
      a += 2;
    } else {
      add_value_queries<Rows, 1>(sums, row, weight_stride, v, keys, head_dim, next);
      a += 1;
    }
  }
}
