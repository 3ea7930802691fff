// A tensor on its way into a file. Its bytes may be made while the file is written, so that a checkpoint never has to
// fit into memory.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace minicpm {

using ByteSink = std::function<void(std::span<const std::byte>)>;

struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;  // PyTorch order
  /// Hands the tensor's bytes to the sink in order, in any number of pieces.
  std::function<void(const ByteSink& sink)> produce;

  /// Throws Error invalid_request if the size overflows or a row is not made of whole blocks.
  int64_t bytes() const;
};

/// `view` must stay valid until the tensor has been written.
TensorToWrite tensor_to_write(std::string name, const Weight& view);

class AtomicFile;
/// Runs `produce` into the file and checks that it made exactly bytes().
void write_tensor(AtomicFile& file, const TensorToWrite& tensor);

}  // namespace minicpm
