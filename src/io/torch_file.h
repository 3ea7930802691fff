// Tensors of files that torch.save wrote (".pt", ".pth", ".bin"): a zip archive with a pickle and a file of numbers for
// each storage. The pickle is read as data; nothing in it is run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "io/weight_source.h"

namespace minicpm {

struct TorchTensor {
  std::string name;  // keys of nested dictionaries are joined by dots
  DType dtype = DType::kF32;
  std::vector<int64_t> shape, strides;  // in elements; none negative
  std::span<const std::byte> bytes;     // from its first element to the end of its last one

  int64_t elements() const;
  bool is_contiguous() const;
};

/// The tensors in a dictionary (state dictionary) of an archive; other values are passed over. Tensors may share their
/// bytes. `path` stands in messages. Throws Error bad_file, and unsupported for files of PyTorch before 1.6, for whole
/// models (pickled code), and for numbers that a WeightSource does not have.
std::vector<TorchTensor> parse_torch_file(std::span<const std::byte> archive, const std::string& path);

/// The same as a source of weights; tensors that do not lie in order, or not at an address for their type, are copied.
/// Throws also not_found, io.
std::unique_ptr<WeightSource> open_torch_file(const std::filesystem::path& file);

}  // namespace minicpm
