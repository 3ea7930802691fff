// What a loader needs from a file of tensors, whatever its format.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace minicpm {

/// One stored tensor: a view into the file's bytes. dims in PyTorch order (GGUF's reversed order is undone).
struct StoredTensor {
  std::string name;
  Weight view;
  std::string file;  // which file it lies in, for messages
};

/// Tensors by name. Implementations keep their files mapped as long as they live.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// The tensor of that name, or null.
  virtual const StoredTensor* find(std::string_view name) const = 0;
  /// All tensors, in file order.
  virtual const std::vector<StoredTensor>& tensors() const = 0;
  /// The file or folder, for messages.
  virtual const std::string& path() const = 0;
};

}  // namespace minicpm
