#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace minicpm {
namespace {

constexpr size_t kHeaderAlignment = 8;  // of the data's start: the widest element type

/// The JSON header for tensors that follow each other in this order.
std::string make_header(const std::vector<TensorToWrite>& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    if (info(tensor.dtype).is_quantised) {
      fail(ErrorCode::kInvalidRequest, "tensor \"{}\": safetensors files cannot hold {}", tensor.name,
           name(tensor.dtype));
    }
    const uint64_t end = offset + static_cast<uint64_t>(tensor.bytes());
    const Json entry = {{"dtype", name(tensor.dtype)}, {"shape", tensor.dims}, {"data_offsets", {offset, end}}};
    header += ',';
    header += Json(tensor.name).dump();
    header += ':';
    header += entry.dump();
    offset = end;
  }
  header += "}";
  header.append((kHeaderAlignment - header.size() % kHeaderAlignment) % kHeaderAlignment, ' ');
  return header;
}

void check_names(const std::vector<TensorToWrite>& tensors) {
  std::vector<std::string_view> names;
  for (const TensorToWrite& tensor : tensors)
    names.push_back(tensor.name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end()) fail(ErrorCode::kInvalidRequest, "tensor \"{}\" was added twice", *twice);
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, std::vector<TensorToWrite> tensors) {
  check_names(tensors);
  std::ranges::stable_sort(tensors, std::ranges::greater{},
                           [](const TensorToWrite& tensor) { return info(tensor.dtype).block_bytes; });
  const std::string header = make_header(tensors);
  const auto length = static_cast<uint64_t>(header.size());
  AtomicFile out(file);
  out.write(std::as_bytes(std::span(&length, 1)));
  out.write(header);
  for (const TensorToWrite& tensor : tensors)
    write_tensor(out, tensor);
  out.commit();
}

void write_safetensors(const std::filesystem::path& file, std::span<const std::pair<std::string, Weight>> tensors) {
  std::vector<TensorToWrite> list;
  for (const auto& [name, view] : tensors)
    list.push_back(tensor_to_write(name, view));
  write_safetensors(file, std::move(list));
}

}  // namespace minicpm
