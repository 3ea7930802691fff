#include "io/tensor_table.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace minicpm {

TensorTable::TensorTable(std::vector<StoredTensor> tensors) : tensors_(std::move(tensors)) {
  by_name_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto [it, added] = by_name_.emplace(tensors_[i].name, i);
    if (!added) {
      fail(ErrorCode::kBadFile, "{}: tensor \"{}\" is already defined in {}", tensors_[i].file, tensors_[i].name,
           tensors_[it->second].file);
    }
  }
}

const StoredTensor* TensorTable::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

void check_no_overlap(const std::vector<StoredTensor>& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto begin = [&](size_t i) { return reinterpret_cast<uintptr_t>(tensors[i].view.data); };
  const auto end = [&](size_t i) { return begin(i) + static_cast<uintptr_t>(stored_bytes(tensors[i].view)); };
  std::erase_if(order, [&](size_t i) { return stored_bytes(tensors[i].view) == 0; });
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return begin(a) < begin(b); });
  for (size_t i = 1; i < order.size(); ++i) {
    if (begin(order[i]) < end(order[i - 1])) {
      fail(ErrorCode::kBadFile, "{}: the data of tensors \"{}\" and \"{}\" overlap", tensors[order[i]].file,
           tensors[order[i - 1]].name, tensors[order[i]].name);
    }
  }
}

int64_t element_alignment(DType dtype) {
  const DTypeInfo& row = info(dtype);
  if (!row.is_quantised) return row.block_bytes;
  return 2;  // blocks hold f16 scales and bytes
}

int64_t stored_bytes(const Weight& view) {
  int64_t elements = 1;
  for (int64_t dim : view.shape())
    elements *= dim;
  return row_bytes(view.dtype, elements);
}

}  // namespace minicpm
