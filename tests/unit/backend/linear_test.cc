// Every weight format on every instruction set against a double-precision reference.
#include "backend/cpu/linear.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernels/select.h"
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/format.h"

namespace minicpm::cpu {
namespace {

constexpr DType kFormats[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,   DType::kQ4_1,
                              DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K,   DType::kQ3_K,
                              DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};

// Room behind each row of x and of the outputs, which no kernel may touch.
constexpr int64_t kGap = 3;
constexpr float kUntouched = -12345.0f;

constexpr float kLargestScale = 0.02f;

struct Shape {
  int64_t rows, n, k;
};

/// Sets the f16 numbers of a block whose other bytes are random.
template <typename Block>
void set_scales(std::byte* p, std::mt19937& random) {
  auto f16 = [&](float low, float high) {
    return f32_to_f16(std::uniform_real_distribution<float>(low, high)(random));
  };
  auto* block = reinterpret_cast<Block*>(p);
  block->d = f16(-kLargestScale, kLargestScale);
  if constexpr (requires { block->m; }) block->m = f16(-0.1f, 0.1f);
  if constexpr (requires { block->dmin; }) block->dmin = f16(-kLargestScale, kLargestScale);
}

void set_scales(DType dtype, std::byte* p, std::mt19937& random) {
  switch (dtype) {
    case DType::kQ4_0:
      return set_scales<BlockQ4_0>(p, random);
    case DType::kQ4_1:
      return set_scales<BlockQ4_1>(p, random);
    case DType::kQ5_0:
      return set_scales<BlockQ5_0>(p, random);
    case DType::kQ5_1:
      return set_scales<BlockQ5_1>(p, random);
    case DType::kQ8_0:
      return set_scales<BlockQ8_0>(p, random);
    case DType::kQ2_K:
      return set_scales<BlockQ2_K>(p, random);
    case DType::kQ3_K:
      return set_scales<BlockQ3_K>(p, random);
    case DType::kQ4_K:
      return set_scales<BlockQ4_K>(p, random);
    case DType::kQ5_K:
      return set_scales<BlockQ5_K>(p, random);
    case DType::kQ6_K:
      return set_scales<BlockQ6_K>(p, random);
    case DType::kIQ4_NL:
      return set_scales<BlockIQ4_NL>(p, random);
    case DType::kIQ4_XS:
      return set_scales<BlockIQ4_XS>(p, random);
    default:
      FAIL() << "no blocks of type " << name(dtype);
  }
}

/// Weights of one matrix at the very end of mapped memory: reading beyond them is a fault.
class Matrix {
 public:
  Matrix(DType dtype, int64_t n, int64_t k) : dtype_(dtype), n_(n), k_(k) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const auto bytes = static_cast<size_t>(n * row_bytes(dtype, k));
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<std::byte*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data_ = base_ + mapped_ - page - bytes;
  }
  ~Matrix() { munmap(base_, mapped_); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  void fill_random(std::mt19937& random) {
    if (info(dtype_).is_quantised) {
      fill_codes([&] { return static_cast<uint8_t>(random()); }, random);
      return;
    }
    std::normal_distribution<float> normal(0.0f, 0.05f);
    std::vector<float> row(static_cast<size_t>(k_));
    for (int64_t r = 0; r < n_; ++r) {
      std::generate(row.begin(), row.end(), [&] { return normal(random); });
      quantize_row(dtype_, row.data(), data_ + r * row_bytes(dtype_, k_), k_);
    }
  }
  /// Every byte of the blocks from `next`, then the scales at random.
  template <typename Next>
  void fill_codes(Next next, std::mt19937& random) {
    const int64_t bytes = n_ * row_bytes(dtype_, k_);
    for (int64_t i = 0; i < bytes; ++i)
      data_[i] = static_cast<std::byte>(next());
    for (int64_t i = 0; i < bytes; i += info(dtype_).block_bytes)
      set_scales(dtype_, data_ + i, random);
  }

  Weight weight() const {
    Weight w;
    w.data = data_;
    w.dtype = dtype_;
    w.rank = 2;
    w.dims[0] = n_;
    w.dims[1] = k_;
    return w;
  }

 private:
  DType dtype_;
  int64_t n_, k_;
  size_t mapped_;
  std::byte* base_;
  std::byte* data_;
};

/// Rows with a gap behind each.
struct Rows {
  int64_t rows, cols;
  std::vector<float> values;

  Rows(int64_t rows, int64_t cols)
      : rows(rows), cols(cols), values(static_cast<size_t>(rows * (cols + kGap)), kUntouched) {}
  float* row(int64_t r) { return values.data() + r * (cols + kGap); }
  const float* row(int64_t r) const { return values.data() + r * (cols + kGap); }
  Tensor tensor() {
    Tensor t(values.data(), DType::kF32, {rows, cols});
    t.strides[0] = cols + kGap;
    return t;
  }
  bool gaps_untouched() const {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = cols; c < cols + kGap; ++c) {
        if (row(r)[c] != kUntouched) return false;
      }
    }
    return true;
  }
};

Rows random_rows(int64_t rows, int64_t cols, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Rows x(rows, cols);
  for (int64_t r = 0; r < rows; ++r)
    std::generate_n(x.row(r), cols, [&] { return normal(random); });
  return x;
}

/// What the int8 kernels make of one row: codes of groups of 32 times their scale.
std::vector<float> rounded_to_q8(const float* x, int64_t k) {
  std::vector<float> out(static_cast<size_t>(k));
  for (int64_t g = 0; g < k; g += 32) {
    float largest = 0.0f;
    const int64_t end = std::min(g + 32, k);
    for (int64_t i = g; i < end; ++i)
      largest = std::max(largest, std::fabs(x[i]));
    for (int64_t i = g; i < end; ++i) {
      const float code = largest > 0.0f ? std::nearbyintf(x[i] * (127.0f / largest)) : 0.0f;
      out[static_cast<size_t>(i)] = code * (largest * (1.0f / 127.0f));
    }
  }
  return out;
}

std::vector<float> rounded_to_bf16(const float* x, int64_t k) {
  std::vector<float> out(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i)
    out[static_cast<size_t>(i)] = bf16_to_f32(f32_to_bf16(x[i]));
  return out;
}

constexpr const char* kPrecisionNames[] = {"fast", "half", "int8", "exact"};

/// Whether plain weights are rounded to int8.
bool is_int8(DType dtype, int64_t rows, Precision precision, const LinearKernels& kernels) {
  return !info(dtype).is_quantised && precision == Precision::kInt8 && kernels.f16.gemm_int8 != nullptr &&
         rows > kernels.inputs[kInputQ8].gemv_rows;
}

/// Whether plain weights are rounded to bf16.
bool is_halved(DType dtype, int64_t rows, Precision precision, const LinearKernels& kernels) {
  const bool wider = dtype == DType::kF16 || dtype == DType::kF32;
  const bool wanted = precision == Precision::kHalf || precision == Precision::kInt8;
  return wider && wanted && !is_int8(dtype, rows, precision, kernels) && kernels.f16.gemm_half != nullptr &&
         rows > kernels.inputs[kInputBF16].gemv_rows;
}

/// Row r of x as the kernels of this precision see it.
std::vector<float> seen_by_kernel(const Rows& x, int64_t r, DType dtype, Precision precision,
                                  const LinearKernels& kernels) {
  if (is_int8(dtype, x.rows, precision, kernels)) return rounded_to_q8(x.row(r), x.cols);
  if (is_halved(dtype, x.rows, precision, kernels)) return rounded_to_bf16(x.row(r), x.cols);
  if (precision != Precision::kExact && info(dtype).is_quantised) return rounded_to_q8(x.row(r), x.cols);
  if (precision != Precision::kExact && dtype == DType::kBF16 && kernels.bf16.fast_input == kInputBF16) {
    return rounded_to_bf16(x.row(r), x.cols);
  }
  return {x.row(r), x.row(r) + x.cols};
}

double absolute_sum(const std::vector<float>& values) {
  double sum = 0.0;
  for (float value : values)
    sum += std::fabs(value);
  return sum;
}

struct Reference {
  std::vector<double> out;
  std::vector<double> magnitude;  // sums of absolute products: what rounding errors are relative to
};

Reference reference(const Rows& x, const Weight& w, const float* bias, Precision precision,
                    const LinearKernels& kernels) {
  Reference ref;
  const int64_t n = w.rows(), k = x.cols;
  std::vector<float> weights(static_cast<size_t>(n * k));
  for (int64_t c = 0; c < n; ++c)
    dequantize_row(w.dtype, w.row(c), weights.data() + c * k, k);
  if (is_halved(w.dtype, x.rows, precision, kernels)) weights = rounded_to_bf16(weights.data(), n * k);
  const bool int8 = is_int8(w.dtype, x.rows, precision, kernels);
  for (int64_t c = 0; c < n && int8; ++c)
    std::ranges::copy(rounded_to_q8(weights.data() + c * k, k), weights.begin() + c * k);
  const float largest = std::ranges::max(weights, {}, [](float value) { return std::fabs(value); });
  for (int64_t r = 0; r < x.rows; ++r) {
    const std::vector<float> xr = seen_by_kernel(x, r, w.dtype, precision, kernels);
    for (int64_t c = 0; c < n; ++c) {
      double sum = bias != nullptr ? bias[c] : 0.0;
      // Kernels may add 128 to signed codes and take its share off the sum, so zeros have an error as well.
      double magnitude = std::fabs(sum) + (w.dtype == DType::kQ8_0 ? 4 * kLargestScale * absolute_sum(xr) : 0.0) +
                         (int8 ? 2 * std::fabs(largest) * absolute_sum(xr) : 0.0);
      for (int64_t i = 0; i < k; ++i) {
        const double product =
            static_cast<double>(xr[static_cast<size_t>(i)]) * weights[static_cast<size_t>(c * k + i)];
        sum += product;
        magnitude += std::fabs(product);
      }
      ref.out.push_back(sum);
      ref.magnitude.push_back(magnitude);
    }
  }
  return ref;
}

/// Errors are relative to the sum of absolute products: f32 sums of some hundred terms in a handful of chains.
constexpr double kLimit = 4e-6;
/// Worst case for sums of `k` equal terms, where all roundings go the same way.
double worst_limit(int64_t k) {
  return static_cast<double>(k) * 0x1p-24;
}

void expect_close(const Rows& out, const Reference& ref, double limit, const std::string& what) {
  double worst = 0.0;
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) {
      const auto i = static_cast<size_t>(r * out.cols + c);
      const double error = std::fabs(out.row(r)[c] - ref.out[i]) / std::max(ref.magnitude[i], 1e-20);
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  EXPECT_LT(worst, limit) << what;
  EXPECT_TRUE(out.gaps_untouched()) << what;
}

std::vector<Shape> shapes_of(DType dtype) {
  if (!info(dtype).is_quantised) {
    return {{1, 5, 1},  {1, 33, 588},  {2, 64, 72},    {3, 17, 7}, {7, 31, 300},
            {9, 1, 17}, {13, 70, 588}, {40, 130, 515}, {9, 65, 1}, {1160, 3, 40}};
  }
  if (info(dtype).block_elements == 32) {
    return {{1, 5, 32}, {1, 33, 544},   {2, 1, 256},    {5, 31, 96},   {8, 17, 288},
            {9, 1, 32}, {13, 70, 1056}, {40, 130, 576}, {17, 33, 512}, {1160, 3, 64}};
  }
  return {{1, 5, 256}, {1, 33, 1280},  {2, 1, 512},    {8, 17, 256},
          {9, 1, 256}, {13, 70, 1280}, {40, 130, 768}, {1160, 2, 256}};
}

struct Case {
  const Isa* isa;
  DType dtype;
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.isa->name) + "_" + std::string(name(info.param.dtype));
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Isa& isa : all_isas()) {
    for (DType dtype : kFormats)
      cases.push_back({&isa, dtype});
  }
  return cases;
}

class LinearTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!GetParam().isa->supported) GTEST_SKIP() << "this processor lacks " << GetParam().isa->name;
    random_.seed(seed_);
    RecordProperty("seed", static_cast<int>(seed_));
  }

  DType dtype() const { return GetParam().dtype; }
  const LinearKernels& kernels() const { return linear_kernels(GetParam().isa->name); }
  Input input_of(Precision precision) const {
    if (precision == Precision::kExact) return kInputF32;
    if (info(dtype()).is_quantised) return kInputQ8;
    return dtype() == DType::kBF16 ? kernels().bf16.fast_input : kInputF32;
  }

  Rows run(Rows& x, const Weight& w, Tensor bias, Precision precision, int threads = 2) const {
    ThreadPool pool(threads);
    Linear linear(pool, kernels());
    Rows out(x.rows, w.rows());
    const LinearTarget target = {out.tensor(), w, bias};
    linear.run({&target, 1}, x.tensor(), precision);
    return out;
  }

  static constexpr unsigned seed_ = 20261122;
  std::mt19937 random_;
};

INSTANTIATE_TEST_SUITE_P(All, LinearTest, testing::ValuesIn(all_cases()), case_name);

/// The formats that have codes.
class BlockFormatTest : public LinearTest {};

std::vector<Case> block_format_cases() {
  std::vector<Case> cases = all_cases();
  std::erase_if(cases, [](const Case& c) { return !info(c.dtype).is_quantised; });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, BlockFormatTest, testing::ValuesIn(block_format_cases()), case_name);

TEST_P(LinearTest, MatchesReference) {
  for (const Shape& shape : shapes_of(dtype())) {
    Matrix matrix(dtype(), shape.n, shape.k);
    matrix.fill_random(random_);
    Rows x = random_rows(shape.rows, shape.k, random_);
    Rows bias = random_rows(1, shape.n, random_);
    for (Precision precision : {Precision::kExact, Precision::kFast, Precision::kHalf, Precision::kInt8}) {
      for (bool with_bias : {false, true}) {
        const Tensor b = with_bias ? Tensor(bias.row(0), DType::kF32, {shape.n}) : Tensor();
        const Rows out = run(x, matrix.weight(), b, precision);
        expect_close(out, reference(x, matrix.weight(), b.f32(), precision, kernels()), kLimit,
                     fmt::format("{} rows, {} x {}, {}, seed {}", shape.rows, shape.n, shape.k,
                                 kPrecisionNames[static_cast<int>(precision)], seed_));
      }
    }
  }
}

// Quantised activations cost about half a percent: 2.2 sigma / 127 / sqrt(12) for normal ones.
TEST_P(LinearTest, FastIsCloseToExact) {
  const Shape shape = {12, 64, 1024};
  Matrix matrix(dtype(), shape.n, shape.k);
  matrix.fill_random(random_);
  Rows x = random_rows(shape.rows, shape.k, random_);
  const Rows exact = run(x, matrix.weight(), {}, Precision::kExact);
  const Rows fast = run(x, matrix.weight(), {}, Precision::kFast);
  double error = 0.0, norm = 0.0;
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t c = 0; c < shape.n; ++c) {
      error += std::pow(fast.row(r)[c] - exact.row(r)[c], 2);
      norm += std::pow(exact.row(r)[c], 2);
    }
  }
  EXPECT_LT(std::sqrt(error / norm), 0.01);
}

TEST_P(LinearTest, NumberOfThreadsDoesNotChangeABit) {
  for (int64_t rows : {1, 3, 29}) {
    const Shape shape = {rows, 517, 768};
    Matrix matrix(dtype(), shape.n, shape.k);
    matrix.fill_random(random_);
    Rows x = random_rows(shape.rows, shape.k, random_);
    for (Precision precision : {Precision::kExact, Precision::kFast, Precision::kInt8}) {
      const Rows one = run(x, matrix.weight(), {}, precision, 1);
      for (int threads : {2, 3, 5})
        EXPECT_EQ(one.values, run(x, matrix.weight(), {}, precision, threads).values) << threads << " threads";
    }
  }
}

TEST_P(LinearTest, RowsDoNotInfluenceEachOther) {
  const int64_t n = 37, k = 768;
  Matrix matrix(dtype(), n, k);
  matrix.fill_random(random_);
  for (Precision precision : {Precision::kExact, Precision::kFast}) {
    const int64_t gemv_rows = std::min<int64_t>(kernels().inputs[input_of(precision)].gemv_rows, 16);
    Rows many = random_rows(gemv_rows + 20, k, random_);
    const Rows all = run(many, matrix.weight(), {}, precision);
    // Batches that the same driver serves: fewer rows, and other neighbours.
    for (int64_t rows : {gemv_rows + 1, gemv_rows + 7}) {
      Rows some = random_rows(rows, k, random_);
      std::copy_n(many.row(5), k, some.row(rows - 1));
      const Rows out = run(some, matrix.weight(), {}, precision);
      EXPECT_TRUE(std::equal(out.row(rows - 1), out.row(rows - 1) + n, all.row(5))) << rows << " rows";
    }
    Rows single = random_rows(1, k, random_);
    const Rows alone = run(single, matrix.weight(), {}, precision);
    for (int64_t rows = 2; rows <= gemv_rows; ++rows) {
      Rows some = random_rows(rows, k, random_);
      std::copy_n(single.row(0), k, some.row(rows - 1));
      const Rows out = run(some, matrix.weight(), {}, precision);
      EXPECT_TRUE(std::equal(out.row(rows - 1), out.row(rows - 1) + n, alone.row(0))) << rows << " rows";
    }
  }
}

// Codes and activations at the ends of their ranges, where 16-bit sums would overflow.
TEST_P(BlockFormatTest, ExtremeCodes) {
  const uint8_t bytes[] = {0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0};
  for (uint8_t byte : bytes) {
    for (int64_t rows : {1, 4, 11}) {
      const Shape shape = {rows, 35, 512};
      Matrix matrix(dtype(), shape.n, shape.k);
      matrix.fill_codes([&] { return byte; }, random_);
      for (int pattern = 0; pattern < 4; ++pattern) {
        Rows x(shape.rows, shape.k);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t i = 0; i < shape.k; ++i) {
            const bool negative = pattern == 1 || (pattern == 2 && i % 2 != 0) || (pattern == 3 && random_() % 2 != 0);
            x.row(r)[i] = negative ? -1.0f : 1.0f;
          }
        }
        for (Precision precision : {Precision::kExact, Precision::kFast}) {
          const Rows out = run(x, matrix.weight(), {}, precision);
          expect_close(out, reference(x, matrix.weight(), nullptr, precision, kernels()), worst_limit(shape.k),
                       fmt::format("byte {:#x}, pattern {}, {} rows", byte, pattern, rows));
        }
      }
    }
  }
}

TEST_P(LinearTest, ZeroTinyAndInvalidActivations) {
  const int64_t n = 20, k = 512;
  Matrix matrix(dtype(), n, k);
  matrix.fill_random(random_);
  for (int64_t rows : {4, 14}) {
    Rows x = random_rows(rows, k, random_);
    std::fill_n(x.row(0), k, 0.0f);
    std::fill_n(x.row(1), k, 1e-41f);  // 127 / this is infinite
    x.row(2)[77] = NAN;
    x.row(3)[300] = INFINITY;
    for (Precision precision : {Precision::kExact, Precision::kFast}) {
      const Rows out = run(x, matrix.weight(), {}, precision);
      for (int64_t c = 0; c < n; ++c) {
        EXPECT_EQ(out.row(0)[c], 0.0f);
        EXPECT_LT(std::fabs(out.row(1)[c]), 1e-35f);
        EXPECT_TRUE(std::isnan(out.row(2)[c])) << out.row(2)[c];
      }
      // A zero weight may meet the infinity, and code 0 times an infinite scale is NaN.
      EXPECT_FALSE(std::isfinite(out.row(3)[0]));
      if (rows > 4) {
        Rows clean(1, k);
        EXPECT_TRUE(std::isfinite(out.row(4)[0]));
      }
    }
  }
}

TEST(LinearGroupTest, SharesActivationsAmongFormats) {
  const unsigned seed = 7;
  std::mt19937 random(seed);
  const int64_t k = 512;
  for (const Isa& isa : all_isas()) {
    if (!isa.supported) continue;
    const LinearKernels& kernels = linear_kernels(isa.name);
    ThreadPool pool(2);
    Linear linear(pool, kernels);  // one object for all: scratch is reused
    for (int64_t rows : {1, 6, 30, 2}) {
      Rows x = random_rows(rows, k, random);
      std::vector<std::unique_ptr<Matrix>> matrices;
      std::vector<Rows> outs, biases;
      int64_t n = 10;
      for (DType dtype : kFormats) {
        matrices.push_back(std::make_unique<Matrix>(dtype, n, k));
        matrices.back()->fill_random(random);
        outs.emplace_back(rows, n);
        biases.push_back(random_rows(1, n, random));
        n += 13;
      }
      for (Precision precision : {Precision::kExact, Precision::kFast, Precision::kHalf, Precision::kInt8}) {
        std::vector<LinearTarget> targets;
        for (size_t i = 0; i < matrices.size(); ++i) {
          const Tensor bias = i % 2 == 0 ? Tensor(biases[i].row(0), DType::kF32, {biases[i].cols}) : Tensor();
          targets.push_back({outs[i].tensor(), matrices[i]->weight(), bias});
        }
        linear.run(targets, x.tensor(), precision);
        for (size_t i = 0; i < matrices.size(); ++i) {
          expect_close(outs[i], reference(x, matrices[i]->weight(), targets[i].bias.f32(), precision, kernels), kLimit,
                       fmt::format("{} {}, {} rows, seed {}", isa.name, name(kFormats[i]), rows, seed));
        }
      }
    }
  }
}

TEST(LinearGroupTest, NoRowsAndNoTargets) {
  ThreadPool pool(2);
  Linear linear(pool, linear_kernels("scalar"));
  float x[32] = {};
  linear.run({}, Tensor(x, DType::kF32, {1, 32}), Precision::kFast);
  float weights[32] = {};
  float out = 5.0f;
  const LinearTarget target = {Tensor(&out, DType::kF32, {0, 1}), as_weight(Tensor(weights, DType::kF32, {1, 32})), {}};
  linear.run({&target, 1}, Tensor(x, DType::kF32, {0, 32}), Precision::kFast);
  EXPECT_EQ(out, 5.0f);
}

TEST(LinearKernelsTest, UnknownNamesGetTheScalarKernels) {
  EXPECT_EQ(&linear_kernels("scalar"), &linear_kernels("no such set"));
}

}  // namespace
}  // namespace minicpm::cpu
