// The tensor list of a source with look-up by name; shared by all readers of this folder.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/weight_source.h"

namespace minicpm {

class TensorTable {
 public:
  TensorTable() = default;
  /// Throws Error bad_file when two tensors have one name.
  explicit TensorTable(std::vector<StoredTensor> tensors);
  TensorTable(const TensorTable&) = delete;
  TensorTable& operator=(const TensorTable&) = delete;
  TensorTable(TensorTable&&) = default;
  TensorTable& operator=(TensorTable&&) = default;

  const StoredTensor* find(std::string_view name) const;
  const std::vector<StoredTensor>& tensors() const { return tensors_; }

 private:
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string_view, size_t> by_name_;  // keys point into tensors_
};

/// Throws Error bad_file when the bytes of two tensors of one file overlap.
void check_no_overlap(const std::vector<StoredTensor>& tensors);

/// Bytes that the address of a tensor's data must be a multiple of, so that it can be read in place.
int64_t element_alignment(DType dtype);

/// Stored size of a tensor; 0 if any dim is 0. Requires sizes that were checked when the file was read.
int64_t stored_bytes(const Weight& view);

}  // namespace minicpm
