// Number formats of tensors: plain element types and the block formats of GGUF files.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace minicpm {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI8,
  kU8,
  kI16,
  kI32,
  kI64,
  kF64,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
};

inline constexpr int kNumDTypes = 22;

/// Storage facts of one format. A row of `n` elements takes n / block_elements * block_bytes bytes, and `n` must be a
/// multiple of `block_elements`.
struct DTypeInfo {
  DType dtype;
  std::string_view name;  // as llama.cpp and the command line spell it
  int block_elements;
  int block_bytes;
  bool is_float;      // f32, f16, bf16, f64
  bool is_quantised;  // a block format
};

/// Sizes of the block formats are those of the GGUF specification: a block holds its scales and packed codes.
inline constexpr std::array<DTypeInfo, kNumDTypes> kDTypeInfo = {
    {
     {DType::kF32, "F32", 1, 4, true, false}, {DType::kF16, "F16", 1, 2, true, false},
     {DType::kBF16, "BF16", 1, 2, true, false}, {DType::kI8, "I8", 1, 1, false, false},
     {DType::kU8, "U8", 1, 1, false, false}, {DType::kI16, "I16", 1, 2, false, false},
     {DType::kI32, "I32", 1, 4, false, false}, {DType::kI64, "I64", 1, 8, false, false},
     {DType::kF64, "F64", 1, 8, true, false}, {DType::kBool, "BOOL", 1, 1, false, false},
     {DType::kQ4_0, "Q4_0", 32, 18, false, true}, {DType::kQ4_1, "Q4_1", 32, 20, false, true},
     {DType::kQ5_0, "Q5_0", 32, 22, false, true}, {DType::kQ5_1, "Q5_1", 32, 24, false, true},
     {DType::kQ8_0, "Q8_0", 32, 34, false, true}, {DType::kQ2_K, "Q2_K", 256, 84, false, true},
     {DType::kQ3_K, "Q3_K", 256, 110, false, true}, {DType::kQ4_K, "Q4_K", 256, 144, false, true},
     {DType::kQ5_K, "Q5_K", 256, 176, false, true}, {DType::kQ6_K, "Q6_K", 256, 210, false, true},
     {DType::kIQ4_NL, "IQ4_NL", 32, 18, false, true}, {DType::kIQ4_XS, "IQ4_XS", 256, 136, false, true},
     }
};

constexpr const DTypeInfo& info(DType dtype) {
  return kDTypeInfo[static_cast<size_t>(dtype)];
}
constexpr std::string_view name(DType dtype) {
  return info(dtype).name;
}

/// The format of that name (exact, upper case), or nothing.
constexpr std::optional<DType> dtype_from_name(std::string_view text) {
  for (const DTypeInfo& row : kDTypeInfo) {
    if (row.name == text) return row.dtype;
  }
  return std::nullopt;
}

/// Bytes of a row of `n` elements. Requires n % block_elements == 0 and a size that was checked before (see checked.h).
constexpr int64_t row_bytes(DType dtype, int64_t n) {
  return n / info(dtype).block_elements * info(dtype).block_bytes;
}

}  // namespace minicpm
