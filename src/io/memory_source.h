// Tensors that live in memory instead of a file: generated models and tests.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/weight_source.h"

namespace minicpm {

class MemorySource : public WeightSource {
 public:
  /// `path` stands in messages.
  explicit MemorySource(std::string path = "memory") : path_(std::move(path)) {}

  /// Copies f32 values and stores them as `dtype`, a format of weights. Results of find() become invalid.
  void add(std::string name, std::span<const float> values, std::vector<int64_t> shape, DType dtype = DType::kF32);

  const StoredTensor* find(std::string_view name) const override;
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const std::string& path() const override { return path_; }

 private:
  std::string path_;
  std::vector<StoredTensor> tensors_;
  std::vector<std::unique_ptr<std::byte[]>> data_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

}  // namespace minicpm
