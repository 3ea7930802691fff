#include "io/gguf_types.h"

#include <fmt/format.h>

#include <array>

namespace minicpm::gguf {
namespace {

struct ValueTypeRow {
  ValueType type;
  std::string_view name;
  uint64_t least_bytes;
};

constexpr std::array<ValueTypeRow, 13> kValueTypes = {{
    {ValueType::kU8, "u8", 1},
    {ValueType::kI8, "i8", 1},
    {ValueType::kU16, "u16", 2},
    {ValueType::kI16, "i16", 2},
    {ValueType::kU32, "u32", 4},
    {ValueType::kI32, "i32", 4},
    {ValueType::kF32, "f32", 4},
    {ValueType::kBool, "bool", 1},
    {ValueType::kString, "string", 8},
    {ValueType::kArray, "array", 12},
    {ValueType::kU64, "u64", 8},
    {ValueType::kI64, "i64", 8},
    {ValueType::kF64, "f64", 8},
}};

struct TensorTypeRow {
  uint32_t number;
  std::string_view name;
};

/// Numbers of the format's tensor types, those without a decoder here included.
constexpr std::array<TensorTypeRow, 35> kTensorTypes = {{
    {0, "F32"},
    {1, "F16"},
    {2, "Q4_0"},
    {3, "Q4_1"},
    {6, "Q5_0"},
    {7, "Q5_1"},
    {8, "Q8_0"},
    {9, "Q8_1"},
    {10, "Q2_K"},
    {11, "Q3_K"},
    {12, "Q4_K"},
    {13, "Q5_K"},
    {14, "Q6_K"},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {20, "IQ4_NL"},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {23, "IQ4_XS"},
    {24, "I8"},
    {25, "I16"},
    {26, "I32"},
    {27, "I64"},
    {28, "F64"},
    {29, "IQ1_M"},
    {30, "BF16"},
    {34, "TQ1_0"},
    {35, "TQ2_0"},
    {39, "MXFP4"},
    // Withdrawn layouts that old files may still name.
    {31, "Q4_0_4_4"},
    {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"},
}};

}  // namespace

std::string_view value_type_name(ValueType type) {
  for (const ValueTypeRow& row : kValueTypes) {
    if (row.type == type) return row.name;
  }
  return {};
}

std::optional<ValueType> value_type_from_name(std::string_view name) {
  for (const ValueTypeRow& row : kValueTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

uint64_t least_value_bytes(ValueType type) {
  for (const ValueTypeRow& row : kValueTypes) {
    if (row.type == type) return row.least_bytes;
  }
  return 1;
}

std::optional<DType> dtype_from_number(uint32_t number) {
  for (const TensorTypeRow& row : kTensorTypes) {
    if (row.number == number) return dtype_from_name(row.name);
  }
  return std::nullopt;
}

std::optional<uint32_t> number_of_dtype(DType dtype) {
  for (const TensorTypeRow& row : kTensorTypes) {
    if (row.name == name(dtype)) return row.number;
  }
  return std::nullopt;
}

std::string describe_tensor_type(uint32_t number) {
  for (const TensorTypeRow& row : kTensorTypes) {
    if (row.number == number) return fmt::format("{} ({})", number, row.name);
  }
  return fmt::format("{}", number);
}

}  // namespace minicpm::gguf
