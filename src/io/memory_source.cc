#include "io/memory_source.h"

#include <algorithm>

#include "base/error.h"
#include "quant/format.h"

namespace minicpm {

void MemorySource::add(std::string name, std::span<const float> values, std::vector<int64_t> shape, DType dtype) {
  MINICPM_CHECK(!shape.empty() && shape.size() <= kMaxRank);
  StoredTensor tensor{name, {}, path_};
  tensor.view.dtype = dtype;
  tensor.view.rank = static_cast<int>(shape.size());
  std::ranges::copy(shape, tensor.view.dims);
  const int64_t rows = tensor.view.rows(), cols = tensor.view.cols();
  MINICPM_CHECK(rows * cols == static_cast<int64_t>(values.size()));
  MINICPM_CHECK(by_name_.emplace(std::move(name), tensors_.size()).second);
  data_.push_back(std::make_unique<std::byte[]>(static_cast<size_t>(tensor.view.bytes())));
  for (int64_t row = 0; row < rows; ++row)
    quantize_row(dtype, values.data() + row * cols, data_.back().get() + row * row_bytes(dtype, cols), cols);
  tensor.view.data = data_.back().get();
  tensors_.push_back(std::move(tensor));
}

const StoredTensor* MemorySource::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace minicpm
