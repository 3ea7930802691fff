// Reader and writer of safetensors files. Layout: u64 header length, JSON header, data. Every bound is checked: header
// length, offsets inside the data and without overlap, shape against bytes.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/weight_source.h"

namespace minicpm {

/// One file, mapped. Throws Error not_found, io, bad_file.
std::unique_ptr<WeightSource> open_safetensors(const std::filesystem::path& file);

/// A folder: `model.safetensors`, or the shards of `model.safetensors.index.json`. Throws as above; a shard that the
/// index names but the folder lacks, or a tensor that the index places wrongly, is named.
std::unique_ptr<WeightSource> open_safetensors_folder(const std::filesystem::path& folder);

/// Writes tensors (name, view) to one file, atomically. Block formats are refused.
void write_safetensors(const std::filesystem::path& file, std::span<const std::pair<std::string, Weight>> tensors);

}  // namespace minicpm
