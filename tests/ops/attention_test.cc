// Attention over packed groups and over the paged cache.
#include <algorithm>
#include <numeric>

#include "conformance.h"
#include "quant/format.h"

namespace minicpm {
namespace {

using AttentionOps = Conformance;
MINICPM_FOR_EACH_ISA(AttentionOps);

// Scores of a few units carry an error of some 1e-7, which becomes the relative error of the weights.
constexpr double kLimit = 2e-6;
constexpr double kHalfLimit = 8e-3;  // bf16 has 8 bits; scores of about 2 are off by their rounding

/// softmax(scale q k^T) v of one query over `keys` keys; key(j), value(j) point to rows of d values.
template <typename Key, typename Value>
void attend(double* out, const float* q, int64_t d, int64_t keys, double scale, Key&& key, Value&& value) {
  std::vector<double> weights(static_cast<size_t>(keys));
  double highest = -INFINITY, total = 0.0;
  for (int64_t j = 0; j < keys; ++j) {
    double score = 0.0;
    for (int64_t i = 0; i < d; ++i)
      score += static_cast<double>(q[i]) * key(j)[i];
    weights[j] = score * scale;
    highest = std::max(highest, weights[j]);
  }
  for (double& w : weights) {
    w = std::exp(w - highest);
    total += w;
  }
  for (int64_t j = 0; j < keys; ++j) {
    for (int64_t i = 0; i < d; ++i)
      out[i] += weights[j] / total * value(j)[i];
  }
}

// ---- varlen --------------------------------------------------------------------------------------------------------

struct VarlenCase {
  std::vector<int64_t> queries;  // of each group
  std::vector<int64_t> keys;
  int64_t heads;
  int64_t head_dim;
};

std::vector<int64_t> starts_of(const std::vector<int64_t>& sizes) {
  std::vector<int64_t> starts = {0};
  for (const int64_t size : sizes)
    starts.push_back(starts.back() + size);
  return starts;
}

/// [rows, heads, head_dim] inside rows that are `extra` values wider.
Tensor strided(float* data, int64_t rows, int64_t heads, int64_t head_dim, int64_t extra) {
  Tensor t(data, DType::kF32, {rows, heads, head_dim});
  t.strides[0] = heads * head_dim + extra;
  return t;
}

const VarlenCase kVarlenCases[] = {
    {{1}, {1}, 1, 1},
    {{0, 3, 0}, {0, 3, 0}, 2, 16},
    {{1, 5, 33, 31}, {1, 5, 33, 31}, 2, 72},
    {{64, 65}, {64, 65}, 3, 72},
    {{200, 129, 47}, {200, 129, 47}, 2, 80},
    {{50}, {50}, 2, 7},
    {{49}, {257}, 1, 96},
    {{3}, {300}, 2, 256},
    {{64, 64}, {1000, 77}, 2, 128},  // the resampler: queries of their own number
    {{2}, {0}, 2, 16},               // no keys: zeros
    {{700}, {700}, 4, 72},           // split over threads
};

TEST_P(AttentionOps, VarlenMatchesTheDefinition) {
  Random random;
  for (const VarlenCase& c : kVarlenCases) {
    const std::vector<int64_t> q_starts = starts_of(c.queries), k_starts = starts_of(c.keys);
    const int64_t q_rows = q_starts.back(), k_rows = k_starts.back(), width = c.heads * c.head_dim;
    std::vector<float> q = random.values(q_rows * (width + 3), 1.5f), k = random.values(k_rows * (width + 8), 1.5f);
    std::vector<float> v = random.values(k_rows * (width + 5));
    const Tensor tq = strided(q.data(), q_rows, c.heads, c.head_dim, 3);
    const Tensor tk = strided(k.data(), k_rows, c.heads, c.head_dim, 8);
    const Tensor tv = strided(v.data(), k_rows, c.heads, c.head_dim, 5);
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));

    std::vector<double> expected(static_cast<size_t>(q_rows * (width + 1)), 0.0);
    for (size_t g = 0; g < c.queries.size(); ++g) {
      for (int64_t i = 0; i < c.queries[g] * c.heads; ++i) {
        const int64_t row = q_starts[g] + i / c.heads, head = i % c.heads;
        attend(
            expected.data() + row * (width + 1) + head * c.head_dim, tq.f32_row(row) + head * c.head_dim, c.head_dim,
            c.keys[g], scale, [&](int64_t j) { return tk.f32_row(k_starts[g] + j) + head * c.head_dim; },
            [&](int64_t j) { return tv.f32_row(k_starts[g] + j) + head * c.head_dim; });
      }
    }
    const std::vector<std::pair<Precision, double>> limits = {{Precision::kFast, kLimit},
                                                              {Precision::kHalf, kHalfLimit}};
    for (const auto& [precision, limit] : limits) {
      const std::vector<float> result = run(std::vector<float>(expected.size(), 0.0f), [&](Backend& b, float* data) {
        b.attention_varlen(strided(data, q_rows, c.heads, c.head_dim, 1), tq, tk, tv, q_starts, k_starts, scale,
                           precision);
      });
      EXPECT_LE(relative_error(result, expected), limit)
          << q_rows << " queries, " << k_rows << " keys, head_dim " << c.head_dim << ", seed " << kSeed;
    }
  }
}

TEST_P(AttentionOps, VarlenWithLargeScores) {
  // Scores of some hundreds: softmax must not overflow, and nearly all weight lies on one key.
  Random random;
  const int64_t n = 140, d = 72;
  std::vector<float> q = random.values(n * d, 12.0f), k = random.values(n * d, 12.0f), v = random.values(n * d);
  std::vector<double> expected(static_cast<size_t>(n * d), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    attend(
        expected.data() + i * d, q.data() + i * d, d, n, 1.0, [&](int64_t j) { return k.data() + j * d; },
        [&](int64_t j) { return v.data() + j * d; });
  }
  const std::vector<int64_t> starts = {0, n};
  const std::vector<float> result = run(std::vector<float>(n * d), [&](Backend& b, float* data) {
    b.attention_varlen(Tensor(data, DType::kF32, {n, 1, d}), Tensor(q.data(), DType::kF32, {n, 1, d}),
                       Tensor(k.data(), DType::kF32, {n, 1, d}), Tensor(v.data(), DType::kF32, {n, 1, d}), starts,
                       starts, 1.0f, Precision::kFast);
  });
  // A score of 1000 has an error of 1e-4 in f32.
  EXPECT_LE(relative_error(result, expected), 1e-3) << "seed " << kSeed;
}

// ---- paged ---------------------------------------------------------------------------------------------------------

struct Sequence {
  int64_t old_tokens;
  int64_t new_rows;
};

struct PagedCase {
  std::vector<Sequence> sequences;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t block_tokens;
};

const PagedCase kPagedCases[] = {
    {{{0, 1}}, 1, 1, 16, 32},
    {{{0, 1}, {31, 1}, {32, 1}, {127, 1}, {128, 1}}, 4, 2, 64, 32},  // decode of several sequences
    {{{511, 1}, {512, 1}, {1300, 1}}, 4, 4, 128, 32},                // borders of the parts
    {{{600, 1}}, 7, 1, 80, 32},
    {{{600, 1}}, 14, 2, 64, 16},
    {{{40, 1}}, 16, 1, 96, 32},
    {{{700, 1}}, 12, 1, 72, 5},
    {{{0, 33}}, 2, 1, 72, 32},
    {{{100, 33}}, 4, 2, 128, 32},
    {{{1020, 2}, {300, 5}}, 4, 2, 64, 32},                  // few rows each, as in speculative decoding
    {{{0, 130}, {700, 1}, {5, 17}, {0, 1}}, 4, 2, 64, 32},  // prompts and decoding in one batch
    {{{90, 200}}, 8, 2, 128, 32},
    {{{3, 40}}, 6, 2, 40, 7},
    {{{0, 300}}, 3, 3, 256, 32},
};

struct PagedData {
  std::vector<float> q, k, v;  // k, v: [num_blocks, kv_heads, block_tokens, head_dim]
  std::vector<int32_t> positions, block_table;
  std::vector<int64_t> row_starts = {0}, block_starts = {0}, kv_lengths;
  int64_t num_blocks = 0;

  PagedData(const PagedCase& c, Random& random) {
    for (const Sequence& s : c.sequences) {
      for (int64_t i = 0; i < s.new_rows; ++i)
        positions.push_back(static_cast<int32_t>(s.old_tokens + i));
      row_starts.push_back(row_starts.back() + s.new_rows);
      kv_lengths.push_back(s.old_tokens + s.new_rows);
      block_starts.push_back(block_starts.back() + (kv_lengths.back() + c.block_tokens - 1) / c.block_tokens);
    }
    num_blocks = block_starts.back() + 1;
    block_table.resize(static_cast<size_t>(block_starts.back()));
    std::iota(block_table.begin(), block_table.end(), 1);
    std::shuffle(block_table.begin(), block_table.end(), random.engine());
    q = random.values(row_starts.back() * c.heads * c.head_dim, 1.5f);
    k = random.values(num_blocks * c.kv_heads * c.block_tokens * c.head_dim, 1.5f);
    v = random.values(num_blocks * c.kv_heads * c.block_tokens * c.head_dim);
  }
  Batch batch() const { return {positions, row_starts, kv_lengths, block_table, block_starts, {}}; }

  std::vector<double> reference(const PagedCase& c, float scale) const {
    std::vector<double> out(q.size(), 0.0);
    for (size_t s = 0; s < c.sequences.size(); ++s) {
      for (int64_t r = row_starts[s]; r < row_starts[s + 1]; ++r) {
        for (int64_t h = 0; h < c.heads; ++h) {
          const auto at = [&](int64_t j) {
            const int64_t block = block_table[block_starts[s] + j / c.block_tokens];
            const int64_t head = h / (c.heads / c.kv_heads);
            return ((block * c.kv_heads + head) * c.block_tokens + j % c.block_tokens) * c.head_dim;
          };
          const int64_t row = (r * c.heads + h) * c.head_dim;
          attend(
              out.data() + row, q.data() + row, c.head_dim, positions[r] + 1, scale,
              [&](int64_t j) { return k.data() + at(j); }, [&](int64_t j) { return v.data() + at(j); });
        }
      }
    }
    return out;
  }
};

/// The values in that format; they become what the format makes of them.
std::vector<std::byte> in_format(DType dtype, std::vector<float>& values) {
  const auto n = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(dtype, n)));
  quantize_row(dtype, values.data(), bytes.data(), n);
  dequantize_row(dtype, bytes.data(), values.data(), n);
  return bytes;
}

TEST_P(AttentionOps, PagedMatchesTheDefinition) {
  Random random;
  for (const PagedCase& c : kPagedCases) {
    PagedData data(c, random);
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
    const auto op = [&](const void* k, const void* v, DType dtype, Precision precision) {
      return run(std::vector<float>(data.q.size()), [&](Backend& b, float* out) {
        const Tensor q(data.q.data(), DType::kF32, {data.row_starts.back(), c.heads, c.head_dim});
        Tensor to = q;
        to.data = out;
        const KvLayer kv = {const_cast<void*>(k), const_cast<void*>(v), dtype,     data.num_blocks,
                            c.kv_heads,           c.block_tokens,       c.head_dim};
        b.attention_paged(to, q, kv, data.batch(), scale, precision);
      });
    };
    const std::string what = fmt::format("{} heads over {}, head_dim {}, {} sequences, seed {}", c.heads, c.kv_heads,
                                         c.head_dim, c.sequences.size(), kSeed);
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
      if (c.head_dim % info(dtype).block_elements != 0) continue;
      // The reference reads what the cache holds.
      const std::vector<std::byte> k = in_format(dtype, data.k), v = in_format(dtype, data.v);
      for (const auto& [precision, limit] : {std::pair(Precision::kFast, kLimit), {Precision::kHalf, kHalfLimit}}) {
        EXPECT_LE(relative_error(op(k.data(), v.data(), dtype, precision), data.reference(c, scale)), limit)
            << what << ", " << name(dtype);
      }
    }
  }
}

TEST_P(AttentionOps, CacheHoldsWhatIsWrittenInItsFormat) {
  Random random;
  constexpr int64_t kHeads = 2, kDim = 64, kTokens = 32, kRows = 70;
  const std::vector<int32_t> table = {3, 1, 2};
  std::vector<int32_t> positions(kRows);
  std::iota(positions.begin(), positions.end(), 5);
  const std::vector<int64_t> row_starts = {0, kRows}, lengths = {5 + kRows}, block_starts = {0, 3};
  const Batch batch = {positions, row_starts, lengths, table, block_starts, {}};
  std::vector<float> k = random.values(kRows * kHeads * kDim), v = random.values(kRows * kHeads * kDim, 300.0f);
  std::fill_n(k.begin(), 40, 0.0f);  // a block of zeros has a scale of zero
  const Tensor tk(k.data(), DType::kF32, {kRows, kHeads, kDim}), tv(v.data(), DType::kF32, {kRows, kHeads, kDim});
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    const auto size = static_cast<size_t>(row_bytes(dtype, 4 * kHeads * kTokens * kDim));
    const std::vector<std::byte> cache = run(std::vector<std::byte>(2 * size), [&](Backend& b, std::byte* memory) {
      b.kv_write({memory, memory + size, dtype, 4, kHeads, kTokens, kDim}, tk, tv, batch);
    });
    for (int64_t i = 0; i < kRows * kHeads; ++i) {
      const int64_t position = positions[i / kHeads], block = table[position / kTokens];
      const int64_t at = row_bytes(dtype, ((block * kHeads + i % kHeads) * kTokens + position % kTokens) * kDim);
      std::vector<float> key(k.begin() + i * kDim, k.begin() + (i + 1) * kDim);
      std::vector<float> value(v.begin() + i * kDim, v.begin() + (i + 1) * kDim);
      const std::vector<std::byte> expected_key = in_format(dtype, key), expected_value = in_format(dtype, value);
      const auto row = [&](size_t from) {
        const auto begin = cache.begin() + static_cast<ptrdiff_t>(from) + at;
        return std::vector<std::byte>(begin, begin + static_cast<ptrdiff_t>(expected_key.size()));
      };
      ASSERT_EQ(row(0), expected_key) << name(dtype) << ", row " << i << ", seed " << kSeed;
      ASSERT_EQ(row(size), expected_value) << name(dtype) << ", row " << i << ", seed " << kSeed;
    }
  }
}

TEST_P(AttentionOps, PromptInChunksGivesTheSameBits) {
  // Chunks large enough for tiles: 150 rows at once, or 50 + 100.
  Random random;
  const PagedCase c = {{{70, 150}}, 4, 2, 64, 32};
  PagedData data(c, random);
  const KvLayer kv = {data.k.data(), data.v.data(), DType::kF32, data.num_blocks, 2, 32, 64};
  const auto part = [&](Backend& b, float* out, int64_t begin, int64_t end, Precision precision) {
    const std::vector<int64_t> row_starts = {0, end - begin}, lengths = {70 + end};
    const Batch batch = {std::span(data.positions).subspan(begin, end - begin),
                         row_starts,
                         lengths,
                         data.block_table,
                         data.block_starts,
                         {}};
    const Tensor q(data.q.data(), DType::kF32, {150, 4, 64}), o(out, DType::kF32, {150, 4, 64});
    b.attention_paged(o.slice(begin, end), q.slice(begin, end), kv, batch, 0.125f, precision);
  };
  for (const Precision precision : {Precision::kExact, Precision::kHalf}) {
    const auto whole =
        run(std::vector<float>(data.q.size()), [&](Backend& b, float* out) { part(b, out, 0, 150, precision); });
    const auto chunked = run(std::vector<float>(data.q.size()), [&](Backend& b, float* out) {
      part(b, out, 0, 50, precision);
      part(b, out, 50, 150, precision);
    });
    EXPECT_TRUE(same_bits(whole, chunked)) << "seed " << kSeed;
  }
}

}  // namespace
}  // namespace minicpm
