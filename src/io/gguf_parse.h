// The bytes of one GGUF file as metadata and tensor views. Independent of files, so that hostile bytes can be fed to it
// directly.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/gguf.h"

namespace minicpm::gguf {

struct ParsedFile {
  int version = 0;
  std::vector<std::pair<std::string, GgufValue>> metadata;  // keys are unique
  std::vector<StoredTensor> tensors;                        // views into the bytes; names are unique
};

/// Throws Error bad_file, unsupported. `path` stands in messages only.
ParsedFile parse(std::span<const std::byte> bytes, const std::string& path);

/// The value of a key, or null.
const GgufValue* find_value(const ParsedFile& file, std::string_view key);

}  // namespace minicpm::gguf
