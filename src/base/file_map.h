// Read-only memory mapping of a regular file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace minicpm {

class FileMap {
 public:
  /// Maps the whole file. Throws Error: not_found (no such file), io (unreadable, or not a regular file).
  static std::shared_ptr<const FileMap> open(const std::filesystem::path& path);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  FileMap(std::string path, const std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const std::byte* data_;
  size_t size_;
};

/// The whole file as bytes in memory, for small files. Throws like FileMap::open, and bad_file above `limit_bytes`.
std::string read_file(const std::filesystem::path& path, size_t limit_bytes);

/// Writes beside, fsyncs and renames, so that the file is never seen half-written. Throws Error io.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace minicpm
