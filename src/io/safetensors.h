// Reader and writer of safetensors files. Layout: u64 header length, JSON header, data. Every bound is checked: header
// length, offsets inside the data and without overlap, shape against bytes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file_map.h"
#include "io/tensor_to_write.h"
#include "io/weight_source.h"

namespace minicpm {

/// One file. A scalar becomes a tensor of shape [1]. Throws Error not_found, io, bad_file, and unsupported for
/// element types that minicpm lacks, more than four dims and data that is not aligned for its element type.
std::unique_ptr<WeightSource> open_safetensors(const std::filesystem::path& file, FileAccess access = FileAccess::kMap);

/// The tensors of a file's bytes, as views into them. `path` stands in messages only.
std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& path);

/// A folder: `model.safetensors`, or the shards of `model.safetensors.index.json`. Throws as above; a shard that the
/// index names but the folder lacks, or a tensor that the index places wrongly, is named.
std::unique_ptr<WeightSource> open_safetensors_folder(const std::filesystem::path& folder,
                                                      FileAccess access = FileAccess::kMap);

/// Writes tensors to one file, atomically; wide elements come first, so that all data is aligned. Throws Error io, and
/// invalid_request for block formats and repeated names.
void write_safetensors(const std::filesystem::path& file, std::span<const std::pair<std::string, Weight>> tensors);
void write_safetensors(const std::filesystem::path& file, std::vector<TensorToWrite> tensors);

/// Size of a shard, in bytes, that published checkpoints keep to.
inline constexpr int64_t kShardBytes = 5'000'000'000;

/// Writes what `open_safetensors_folder` reads: model.safetensors or, above `shard_bytes`, shards and their index. Each
/// file appears when it is complete, the index last. Returns the number of weight files. Throws like write_safetensors.
int64_t write_safetensors_folder(const std::filesystem::path& folder, std::vector<TensorToWrite> tensors,
                                 int64_t shard_bytes = kShardBytes);

}  // namespace minicpm
