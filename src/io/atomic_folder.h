// A folder that appears under its name only when it is complete.
#pragma once

#include <filesystem>

namespace minicpm {

/// Fills a temporary folder beside `target`. Without commit() nothing remains.
class AtomicFolder {
 public:
  /// Throws Error invalid_request when `target` exists and is not an empty folder, not_found or io when no folder can
  /// be made beside it. Missing parents are made.
  explicit AtomicFolder(const std::filesystem::path& target);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  /// Where to write.
  const std::filesystem::path& path() const { return temporary_; }

  /// Gives the folder its name. Throws Error io.
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  bool committed_ = false;
};

}  // namespace minicpm
