#include <algorithm>

#include "base/error.h"
#include "base/file_map.h"
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

int64_t write_safetensors_folder(const std::filesystem::path& folder, std::vector<TensorToWrite> tensors,
                                 int64_t shard_bytes) {
  check_names(tensors);
  std::vector<std::vector<TensorToWrite>> shards(1);
  int64_t used = 0, total = 0;
  for (TensorToWrite& tensor : tensors) {
    const int64_t bytes = tensor.bytes();
    if (used > 0 && bytes > shard_bytes - used) {
      shards.emplace_back();
      used = 0;
    }
    used += bytes;
    total += bytes;
    shards.back().push_back(std::move(tensor));
  }
  if (shards.size() == 1) {
    write_safetensors(folder / "model.safetensors", std::move(shards[0]));
    return 1;
  }
  nlohmann::json map;  // sorted; an ordered document takes quadratic time for many keys
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const TensorToWrite& tensor : shards[i])
      map[tensor.name] = name;
    write_safetensors(folder / name, std::move(shards[i]));
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  write_file_atomically(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  return static_cast<int64_t>(shards.size());
}

}  // namespace minicpm
