// Type numbers of the GGUF format, shared by its reader and its writer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/dtype.h"

namespace minicpm::gguf {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr std::string_view kArrayPrefix = "array of ";

enum class ValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

/// "u8", "string", ...; empty for an unknown number.
std::string_view value_type_name(ValueType type);
std::optional<ValueType> value_type_from_name(std::string_view name);
/// Bytes of one value as stored; for strings and arrays the least there can be.
uint64_t least_value_bytes(ValueType type);

/// The format behind a tensor type number, if this build can hold it.
std::optional<DType> dtype_from_number(uint32_t number);
/// The number of a format; nothing for formats that GGUF lacks (u8, bool).
std::optional<uint32_t> number_of_dtype(DType dtype);
/// What is known of a type number, for messages: "16 (IQ2_XXS)".
std::string describe_tensor_type(uint32_t number);

}  // namespace minicpm::gguf
