// Reader of NumPy's .npy array files (format versions 1 to 3), for reference data.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace minicpm {

/// An array in C order. dtype is one of f32, f64, u8, i32, i64.
struct NpyArray {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;  // aligned for every element type

  int64_t numel() const { return static_cast<int64_t>(data.size()) / info(dtype).block_bytes; }
  std::span<const float> f32() const;  // requires dtype f32
  std::span<const uint8_t> u8() const;
  std::span<const int64_t> i64() const;
};

/// Throws Error not_found, io, bad_file, unsupported (other element types, Fortran order, big-endian).
NpyArray read_npy(const std::filesystem::path& file);
NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& path);

}  // namespace minicpm
