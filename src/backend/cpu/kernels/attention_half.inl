// Attention of many queries with products in bf16: queries, keys, weights and values are rounded, sums and softmax stay
// f32. Two neighbours along the dimension that is summed over make one 32-bit word. Included after attention.inl by
// instruction sets that define multiply_pairs, join_pairs and zip_pairs.

/// Keys become words along head_dim, in place: row n [stride / 2] stays at n * stride. Values become words of two keys,
/// row i [stride] of keys 2i and 2i + 1 at i * stride; an odd last key gets a zero beside it.
static void halve_keys(float* k, float* v, int64_t keys, int64_t stride) {
  for (int64_t n = 0; n < keys; ++n) {
    float* row = k + n * stride;
    for (int64_t i = 0; i < stride; i += 2 * kLanes) {
      const int64_t left = smaller(stride - i, 2 * kLanes);
      const First low{static_cast<int>(smaller(left, kLanes))}, high{static_cast<int>(left - low.count)};
      store(row + i / 2, join_pairs(load(row + i, low), load(row + i + low.count, high)),
            First{static_cast<int>((left + 1) / 2)});
    }
  }
  for (int64_t n = 0; n < keys; n += 2) {
    const float* rows = v + n * stride;
    for_lanes(stride, [=](int64_t i, auto part) {
      const Vec second = n + 1 < keys ? load(rows + stride + i, part) : zero();
      store(v + n / 2 * stride + i, zip_pairs(load(rows + i, part), second), part);
    });
  }
}

/// [head_dim][lanes] to words [head_dim / 2][lanes], in place; head_dim is even, lanes are whole vectors.
static void halve_queries(float* q, int64_t head_dim, int64_t lanes) {
  for (int64_t i = 0; i < head_dim; i += 2) {
    for (int64_t j = 0; j < lanes; j += kLanes)
      store(q + i / 2 * lanes + j, zip_pairs(load(q + i * lanes + j), load(q + (i + 1) * lanes + j)));
  }
}

template <int kVectors>
static void score_tile_half(float* tile, const float* q, const float* k, int64_t stride, int64_t words) {
  constexpr int kWidth = kVectors * kLanes;
  Vec sums[kTileRows][kVectors];
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = zero();
  }
  for (int64_t i = 0; i < words; ++i) {
    Vec query[kVectors];
    for (int v = 0; v < kVectors; ++v)
      query[v] = load(q + i * kWidth + v * kLanes);
    for (int r = 0; r < kTileRows; ++r) {
      const Vec key = set1(k[r * stride + i]);
      for (int v = 0; v < kVectors; ++v)
        sums[r][v] = multiply_pairs(sums[r][v], key, query[v]);
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v)
      store(tile + r * kWidth + v * kLanes, sums[r][v]);
  }
}

template <int kVectors>
static void value_tile_half(float* out, const Vec* factor, const float* weights, const float* v, int64_t stride,
                            int64_t words) {
  constexpr int kWidth = kVectors * kLanes;
  Vec sums[kTileRows][kVectors];
  for (int r = 0; r < kTileRows; ++r) {
    for (int j = 0; j < kVectors; ++j)
      sums[r][j] = load(out + r * kWidth + j * kLanes) * factor[j];
  }
  for (int64_t i = 0; i < words; ++i) {
    Vec weight[kVectors];
    for (int j = 0; j < kVectors; ++j)
      weight[j] = load(weights + i * kWidth + j * kLanes);
    for (int r = 0; r < kTileRows; ++r) {
      const Vec value = set1(v[i * stride + r]);
      for (int j = 0; j < kVectors; ++j)
        sums[r][j] = multiply_pairs(sums[r][j], value, weight[j]);
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int j = 0; j < kVectors; ++j)
      store(out + r * kWidth + j * kLanes, sums[r][j]);
  }
}

/// Weights [keys][lanes] to words [(keys + 1) / 2][lanes], in place.
template <int kVectors>
static void halve_weights(float* weights, int64_t keys) {
  constexpr int kWidth = kVectors * kLanes;
  for (int64_t n = 0; n < keys; n += 2) {
    for (int v = 0; v < kVectors; ++v) {
      const float* at = weights + n * kWidth + v * kLanes;
      const Vec second = n + 1 < keys ? load(at + kWidth) : zero();
      store(weights + n / 2 * kWidth + v * kLanes, zip_pairs(load(at), second));
    }
  }
}

template <int kVectors>
static void attend_panel_half(const AttentionStep& step) {
  constexpr int kWidth = kVectors * kLanes;
  for (int64_t n = 0; n < step.keys; n += kTileRows) {
    score_tile_half<kVectors>(step.scores + n * kWidth, step.q, step.k + n * step.stride, step.stride,
                              step.head_dim / 2);
  }
  if (step.visible != nullptr) hide_scores<kVectors>(step);
  Vec factor[kVectors];
  weigh_scores<kVectors>(step, factor);
  halve_weights<kVectors>(step.scores, step.keys);
  for (int64_t i = 0; i < step.head_dim; i += kTileRows) {
    value_tile_half<kVectors>(step.out + i * kWidth, factor, step.scores, step.v + i, step.stride,
                              (step.keys + 1) / 2);
  }
}

static void attend_half(const AttentionStep& step) {
  if (step.vectors == kTileVectors) {
    attend_panel_half<kTileVectors>(step);
  } else {
    attend_panel_half<1>(step);
  }
}
