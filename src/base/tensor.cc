#include "base/tensor.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace minicpm {

Tensor::Tensor(void* data, DType dtype, std::span<const int64_t> shape)
    : data(data), dtype(dtype), rank(static_cast<int>(shape.size())) {
  MINICPM_CHECK(shape.size() <= kMaxRank);
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    dims[i] = shape[i];
    strides[i] = stride;
    stride *= shape[i];
  }
}

int64_t Tensor::numel() const {
  if (rank == 0) return 0;
  int64_t product = 1;
  for (int i = 0; i < rank; ++i)
    product *= dims[i];
  return product;
}

bool Tensor::is_contiguous() const {
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (dims[i] != 1 && strides[i] != stride) return false;
    stride *= dims[i];
  }
  return true;
}

Tensor Tensor::reshape(std::initializer_list<int64_t> shape) const {
  MINICPM_CHECK(is_contiguous());
  Tensor view(data, dtype, shape);
  MINICPM_CHECK(view.numel() == numel());
  return view;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  MINICPM_CHECK(rank > 0 && 0 <= begin && begin <= end && end <= dims[0]);
  Tensor view = *this;
  view.data = static_cast<char*>(data) + row_bytes(dtype, begin * strides[0]);
  view.dims[0] = end - begin;
  return view;
}

std::string shape_string(std::span<const int64_t> dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

int64_t Weight::cols() const {
  if (rank == 0) return 0;
  if (rank == 1) return dims[0];
  int64_t product = 1;
  for (int i = 1; i < rank; ++i)
    product *= dims[i];
  return product;
}

Weight as_weight(const Tensor& t) {
  MINICPM_CHECK(t.is_contiguous());
  Weight w;
  w.data = t.data;
  w.dtype = t.dtype;
  w.rank = t.rank;
  std::copy(t.dims, t.dims + kMaxRank, w.dims);
  return w;
}

}  // namespace minicpm
