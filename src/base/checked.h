// Overflow-safe arithmetic for sizes that come from files. Raw * and + on such numbers are not allowed anywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace minicpm {

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

/// Product of all dims, or nothing on overflow beyond int64 (the type sizes have afterwards).
inline std::optional<int64_t> checked_product(std::span<const uint64_t> dims) {
  uint64_t product = 1;
  for (uint64_t dim : dims) {
    if (__builtin_mul_overflow(product, dim, &product)) return std::nullopt;
  }
  if (product > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<int64_t>(product);
}

/// True if [offset, offset + size) lies inside [0, total).
inline bool range_inside(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

}  // namespace minicpm
