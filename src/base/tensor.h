// Views of tensors and weights. A view never owns memory and is passed by value.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

#include "base/dtype.h"
#include "base/error.h"

namespace minicpm {

inline constexpr int kMaxRank = 4;

/// A view: pointer, dtype, dims in PyTorch order (last is innermost) and strides in elements.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  int64_t dims[kMaxRank] = {1, 1, 1, 1};
  int64_t strides[kMaxRank] = {0, 0, 0, 0};

  Tensor() = default;
  /// A contiguous view of `data`. Requires a plain element type (block formats are Weights).
  Tensor(void* data, DType dtype, std::initializer_list<int64_t> shape)
      : Tensor(data, dtype, std::span<const int64_t>(shape.begin(), shape.size())) {}
  Tensor(void* data, DType dtype, std::span<const int64_t> shape);

  bool defined() const { return data != nullptr; }
  int64_t dim(int i) const { return dims[i < 0 ? rank + i : i]; }
  int64_t stride(int i) const { return strides[i < 0 ? rank + i : i]; }
  int64_t numel() const;
  bool is_contiguous() const;
  std::span<const int64_t> shape() const { return {dims, static_cast<size_t>(rank)}; }

  /// Rows and columns when everything but the last dim is flattened. Requires a contiguous view.
  int64_t rows() const { return rank == 0 ? 0 : numel() / dims[rank - 1]; }
  int64_t cols() const { return rank == 0 ? 0 : dims[rank - 1]; }

  float* f32() const { return static_cast<float*>(data); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  float* f32_row(int64_t row) const { return f32() + row * strides[0]; }

  /// The same elements under another shape. Requires a contiguous view and an equal count.
  Tensor reshape(std::initializer_list<int64_t> shape) const;
  /// Rows [begin, end) of dim 0.
  Tensor slice(int64_t begin, int64_t end) const;
};
static_assert(std::is_trivially_copyable_v<Tensor>);

/// Shape as text, "[64, 4096]", for messages.
std::string shape_string(std::span<const int64_t> dims);

struct LowRank;

/// A constant parameter: usually a view into a mapped file, in any format. dims in PyTorch order; rows follow each
/// other without gaps. `prepared` may hold a backend's own form. `adapter` is what a fine-tuned model adds to a linear
/// layer; ops::linear applies it.
struct Weight {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  int64_t dims[kMaxRank] = {1, 1, 1, 1};
  const void* prepared = nullptr;
  const LowRank* adapter = nullptr;

  bool defined() const { return data != nullptr; }
  std::span<const int64_t> shape() const { return {dims, static_cast<size_t>(rank)}; }
  /// Matrix view [rows, cols]: a vector is one row, more dims fold into cols behind dim 0.
  int64_t rows() const { return rank <= 1 ? 1 : dims[0]; }
  int64_t cols() const;
  int64_t bytes() const { return rows() * row_bytes(dtype, cols()); }
  const void* row(int64_t r) const { return static_cast<const char*>(data) + r * row_bytes(dtype, cols()); }
};
static_assert(std::is_trivially_copyable_v<Weight>);

/// A low-rank addition to a matrix [out, in]: scale * b a.
struct LowRank {
  Weight a;  // [r, in]
  Weight b;  // [out, r]
  float scale = 1.0f;
};

/// A contiguous f32 tensor as a weight (tests, generated tables).
Weight as_weight(const Tensor& t);

}  // namespace minicpm
