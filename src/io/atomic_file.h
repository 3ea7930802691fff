// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// Writes to a temporary file beside `path`. Without commit() nothing remains. Every call may throw Error io (disk
/// full, no permission) or not_found (no such folder).
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Zero bytes up to the next multiple of `alignment`.
  void pad_to(size_t alignment);
  uint64_t size() const { return size_; }

  static constexpr unsigned kForAll = 0644, kOwnerOnly = 0600;  // who may read it; only its owner writes it

  /// Flushes to the disk and renames.
  void commit(unsigned mode = kForAll);

 private:
  void flush();
  void write_through(std::span<const std::byte> bytes);

  std::string path_, temporary_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::vector<std::byte> buffer_;  // gathers small writes
};

}  // namespace minicpm
