// A deterministic backend: a row's results have the same bits whatever is computed with it.
#include <numeric>

#include "conformance.h"
#include "quant/format.h"

namespace minicpm {
namespace {

class DeterministicOps : public Conformance {
 protected:
  void SetUp() override {
    Conformance::SetUp();
    if (!IsSkipped()) backend_ = make_cpu_backend({.num_threads = 2, .isa = GetParam(), .deterministic = true});
  }

  std::unique_ptr<Backend> backend_;
};
MINICPM_FOR_EACH_ISA(DeterministicOps);

TEST_P(DeterministicOps, ProductsOfARowAloneAndAmongOthers) {
  constexpr int64_t kDepth = 512, kCols = 75, kRows = 23;
  Random random;
  std::vector<float> x = random.values(kRows * kDepth);
  const std::vector<float> weights = random.values(kCols * kDepth, 0.05f);
  std::vector<float> bias = random.values(kCols);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    std::vector<uint8_t> bytes(static_cast<size_t>(row_bytes(dtype, kCols * kDepth)));
    quantize_row(dtype, weights.data(), bytes.data(), kCols * kDepth);
    Weight w;
    w.data = bytes.data();
    w.dtype = dtype;
    w.rank = 2;
    w.dims[0] = kCols;
    w.dims[1] = kDepth;
    for (const Precision precision : {Precision::kFast, Precision::kHalf, Precision::kInt8, Precision::kExact}) {
      const auto products = [&](int64_t first, int64_t rows) {
        std::vector<float> out(static_cast<size_t>(rows * kCols));
        const LinearTarget target = {Tensor(out.data(), DType::kF32, {rows, kCols}), w,
                                     Tensor(bias.data(), DType::kF32, {kCols})};
        backend_->linear({&target, 1}, Tensor(x.data() + first * kDepth, DType::kF32, {rows, kDepth}), precision);
        return out;
      };
      const std::vector<float> all = products(0, kRows);
      for (int64_t rows = 1; rows < 12; ++rows) {
        const int64_t first = (7 * rows) % (kRows - rows);
        const std::vector<float> expected(all.begin() + first * kCols, all.begin() + (first + rows) * kCols);
        ASSERT_TRUE(same_bits(products(first, rows), expected))
            << name(dtype) << ", " << rows << " rows, precision " << static_cast<int>(precision) << ", seed " << kSeed;
      }
    }
  }
}

TEST_P(DeterministicOps, AttentionOfARowAloneAndAmongOthers) {
  constexpr int64_t kTokens = 300, kBlock = 32, kHeads = 4, kKvHeads = 2, kDim = 64, kNumBlocks = 10;
  Random random;
  std::vector<float> q = random.values(kTokens * kHeads * kDim);
  std::vector<float> k = random.values(kNumBlocks * kKvHeads * kBlock * kDim),
                     v = random.values(static_cast<int64_t>(k.size()));
  std::vector<int32_t> table(kNumBlocks), positions(kTokens);
  std::iota(table.rbegin(), table.rend(), 0);
  std::iota(positions.begin(), positions.end(), 0);
  const KvLayer kv = {k.data(), v.data(), DType::kF32, kNumBlocks, kKvHeads, kBlock, kDim};
  for (const Precision precision : {Precision::kHalf, Precision::kExact}) {
    const auto attend = [&](int64_t first, int64_t rows) {
      std::vector<float> out(static_cast<size_t>(rows * kHeads * kDim));
      const std::vector<int64_t> row_starts = {0, rows}, lengths = {first + rows}, block_starts = {0, kNumBlocks};
      const Batch batch = {std::span(positions).subspan(static_cast<size_t>(first), static_cast<size_t>(rows)),
                           row_starts,
                           lengths,
                           table,
                           block_starts,
                           {}};
      backend_->attention_paged(Tensor(out.data(), DType::kF32, {rows, kHeads, kDim}),
                                Tensor(q.data() + first * kHeads * kDim, DType::kF32, {rows, kHeads, kDim}), kv, batch,
                                0.125f, precision);
      return out;
    };
    const std::vector<float> all = attend(0, kTokens);
    for (const auto& [first, rows] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 3}, {127, 2}, {299, 1}, {40, 200}}) {
      const std::vector<float> expected(all.begin() + first * kHeads * kDim,
                                        all.begin() + (first + rows) * kHeads * kDim);
      EXPECT_TRUE(same_bits(attend(first, rows), expected)) << rows << " rows from " << first << ", seed " << kSeed;
    }
  }
}

}  // namespace
}  // namespace minicpm
