// The bytes of a regular file, read-only: mapped, or read into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace minicpm {

enum class FileAccess {
  kMap,   // pages come from the system's file cache when they are touched, and the system may take them back
  kRead,  // read at once by all processors into memory of this process, in large pages, and dropped from that cache
  kAuto,  // see choose_file_access
};

/// What kAuto becomes: kRead for files of a file system that another machine or process serves, if they fit into the
/// memory that is free, since there a page that was taken back costs a journey, and a file that is cut short or a
/// server that is gone ends the process; otherwise kMap, with which programs start at once and share what they read.
/// `path` may be a folder; the size of what is in it does not count then. Other values stay as they are.
FileAccess choose_file_access(const std::filesystem::path& path, FileAccess wanted);

class FileMap {
 public:
  /// The whole file. Throws Error: not_found (no such file), io (unreadable, or not a regular file), and with kRead
  /// out_of_memory when it does not fit into the memory that is free.
  static std::shared_ptr<const FileMap> open(const std::filesystem::path& path, FileAccess access = FileAccess::kMap);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  static std::shared_ptr<const FileMap> read(int fd, const std::string& path, size_t size);

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
