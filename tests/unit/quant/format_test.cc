#include "quant/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "quant/blocks.h"

namespace minicpm {
namespace {

constexpr unsigned kSeed = 20240917;

std::vector<float> normals(int64_t n, float std, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, std);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values)
    value = normal(engine);
  return values;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& x) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<uint8_t> blocks(static_cast<size_t>(row_bytes(dtype, n)), 0xa5);
  quantize_row(dtype, x.data(), blocks.data(), n);
  std::vector<float> y(x.size(), -1e30f);
  dequantize_row(dtype, blocks.data(), y.data(), n);
  return y;
}

double relative_error(const std::vector<float>& expected, const std::vector<float>& found) {
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(expected[i]) - found[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// Relative L2 error of normally distributed weights: a little above what a least-squares choice of scales reaches, well
// below the error of one bit less.
struct ErrorLimit {
  DType dtype;
  double limit;
};
constexpr ErrorLimit kErrorLimits[] = {
    {DType::kF32,    0.0   },
    {DType::kF64,    0.0   },
    {DType::kF16,    3e-4  },
    {DType::kBF16,   2e-3  },
    {DType::kQ8_0,   0.0065},
    {DType::kQ6_K,   0.020 },
    {DType::kQ5_K,   0.040 },
    {DType::kQ5_0,   0.045 },
    {DType::kQ5_1,   0.040 },
    {DType::kQ4_K,   0.080 },
    {DType::kQ4_0,   0.090 },
    {DType::kQ4_1,   0.080 },
    {DType::kIQ4_NL, 0.080 },
    {DType::kIQ4_XS, 0.080 },
    {DType::kQ3_K,   0.170 },
    {DType::kQ2_K,   0.320 },
};

TEST(Format, EveryWeightFormatHasBothDirections) {
  for (const DTypeInfo& row : kDTypeInfo) {
    const bool holds_weights = row.is_float || row.is_quantised;
    const FormatTraits* traits = format_traits(row.dtype);
    ASSERT_EQ(traits != nullptr, holds_weights) << row.name;
    if (traits == nullptr) continue;
    EXPECT_EQ(traits->dtype, row.dtype);
    EXPECT_NE(traits->dequantize, nullptr) << row.name;
    EXPECT_NE(traits->quantize, nullptr) << row.name;
  }
}

TEST(Format, RowsOfPartialBlocksAreABug) {
  std::vector<float> values(48);
  std::vector<uint8_t> blocks(1024);
  EXPECT_THROW(quantize_row(DType::kQ4_0, values.data(), blocks.data(), 48), Error);
  EXPECT_THROW(dequantize_row(DType::kQ4_K, blocks.data(), values.data(), 32), Error);
  EXPECT_THROW(dequantize_row(DType::kI32, blocks.data(), values.data(), 32), Error);
}

TEST(Format, RoundTripErrorOfNormalWeights) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const std::vector<float> x = normals(256 * 200, 0.02f, kSeed);
  for (const ErrorLimit& row : kErrorLimits) {
    const double error = relative_error(x, round_trip(row.dtype, x));
    RecordProperty(std::string(name(row.dtype)), std::to_string(error));
    EXPECT_LE(error, row.limit) << name(row.dtype);
    if (row.limit > 0.01) {
      EXPECT_GE(error, row.limit / 3) << name(row.dtype);
    }
  }
}

TEST(Format, ScaleOfTheDataDoesNotMatter) {
  for (const ErrorLimit& row : kErrorLimits) {
    if (!info(row.dtype).is_quantised) continue;
    for (float std : {1e-2f, 1.0f, 1000.0f}) {
      const std::vector<float> x = normals(256 * 20, std, kSeed + 1);
      EXPECT_LE(relative_error(x, round_trip(row.dtype, x)), row.limit * 1.1) << name(row.dtype) << " std " << std;
    }
  }
}

TEST(Format, OneSidedDataIsEncoded) {
  // Weights of one sign, as some norms and biases have: affine formats must not lose the range.
  std::vector<float> x = normals(256 * 20, 1.0f, kSeed + 2);
  for (float sign : {1.0f, -1.0f}) {
    for (float& value : x)
      value = sign * std::fabs(value);
    for (const ErrorLimit& row : kErrorLimits) {
      EXPECT_LE(relative_error(x, round_trip(row.dtype, x)), row.limit * 1.2 + 1e-6) << name(row.dtype) << " " << sign;
    }
  }
}

TEST(Format, ZeroBlocksStayZero) {
  const std::vector<float> zeros(512, 0.0f);
  for (const ErrorLimit& row : kErrorLimits) {
    for (float value : round_trip(row.dtype, zeros))
      ASSERT_EQ(value, 0.0f) << name(row.dtype);
  }
}

TEST(Format, DequantisedValuesQuantiseToThemselves) {
  // Values that a format can hold exactly come back with at most the rounding of a re-fitted scale.
  for (const ErrorLimit& row : kErrorLimits) {
    const std::vector<float> once = round_trip(row.dtype, normals(256 * 20, 1.0f, kSeed + 3));
    EXPECT_LE(relative_error(once, round_trip(row.dtype, once)), row.limit * 0.5 + 1e-6) << name(row.dtype);
  }
}

TEST(Format, ExtremeAndInvalidNumbersNeverDecodeToNaN) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  constexpr float kMax = std::numeric_limits<float>::max();
  for (float odd : {kInf, -kInf, kNaN, kMax, -kMax, 1e-45f, 1e-30f}) {
    std::vector<float> x = normals(256, 1.0f, kSeed + 4);
    x[7] = odd;
    x[200] = -odd;
    for (const DTypeInfo& row : kDTypeInfo) {
      if (!row.is_quantised) continue;
      for (float value : round_trip(row.dtype, x))
        ASSERT_FALSE(std::isnan(value)) << row.name << " with " << odd;
    }
    const std::vector<float> same(256, odd);
    for (const DTypeInfo& row : kDTypeInfo) {
      if (!row.is_quantised) continue;
      for (float value : round_trip(row.dtype, same))
        ASSERT_FALSE(std::isnan(value)) << row.name << " with only " << odd;
    }
  }
}

// The definitions of blocks.h, element by element, against the decoders on blocks of random bits.
float q4_k_element(const BlockQ4_K& block, int i) {
  const int s = i / 32;
  const int scale = s < 4 ? block.scales[s] & 63 : (block.scales[s + 4] & 15) + 16 * (block.scales[s - 4] >> 6);
  const int min = s < 4 ? block.scales[s + 4] & 63 : (block.scales[s + 4] >> 4) + 16 * (block.scales[s] >> 6);
  const int q = block.qs[i / 64 * 32 + i % 32] >> (s % 2 * 4) & 15;
  return f16_to_f32(block.d) * static_cast<float>(scale) * static_cast<float>(q) -
         f16_to_f32(block.dmin) * static_cast<float>(min);
}

float q6_k_element(const BlockQ6_K& block, int i) {
  const int half = i / 128, e = i % 128;
  const int low = block.ql[64 * half + e % 64] >> (e / 64 * 4) & 15;
  const int high = block.qh[32 * half + e % 32] >> (e / 32 * 2) & 3;
  return f16_to_f32(block.d) * static_cast<float>(block.scales[i / 16]) * static_cast<float>(low + 16 * high - 32);
}

template <typename Block>
Block random_block(std::mt19937& engine) {
  Block block;
  std::vector<uint8_t> bytes(sizeof(Block));
  for (uint8_t& byte : bytes)
    byte = static_cast<uint8_t>(engine());
  std::memcpy(&block, bytes.data(), sizeof(Block));
  block.d = f32_to_f16(0.01f);
  return block;
}

TEST(Format, DecodersFollowTheBlockDefinitions) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 engine(kSeed);
  for (int round = 0; round < 20; ++round) {
    float y[kSuperBlock];
    auto q4 = random_block<BlockQ4_K>(engine);
    q4.dmin = f32_to_f16(0.25f);
    dequantize_row(DType::kQ4_K, &q4, y, kSuperBlock);
    for (int i = 0; i < kSuperBlock; ++i)
      ASSERT_EQ(y[i], q4_k_element(q4, i)) << i;
    const auto q6 = random_block<BlockQ6_K>(engine);
    dequantize_row(DType::kQ6_K, &q6, y, kSuperBlock);
    for (int i = 0; i < kSuperBlock; ++i)
      ASSERT_EQ(y[i], q6_k_element(q6, i)) << i;
    const auto q8 = random_block<BlockQ8_0>(engine);
    dequantize_row(DType::kQ8_0, &q8, y, kSmallBlock);
    for (int i = 0; i < kSmallBlock; ++i)
      ASSERT_EQ(y[i], f16_to_f32(q8.d) * static_cast<float>(q8.qs[i])) << i;
  }
}

}  // namespace
}  // namespace minicpm
