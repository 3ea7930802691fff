// The files inside a zip archive that stores them uncompressed.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

struct ZipEntry {
  std::string name;
  std::span<const std::byte> bytes;  // a view into the archive
};

/// Entries of an archive of less than 4 GiB; `path` stands in messages. Throws Error bad_file for what is damaged and
/// unsupported for compressed or encrypted entries.
std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& path);

}  // namespace minicpm
