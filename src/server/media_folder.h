// A folder whose files requests may name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace minicpm::server {

class MediaFolder {
 public:
  /// Throws Error not_found, io for what is no folder, unsupported where the system (Linux before 5.6) cannot keep
  /// paths inside one.
  explicit MediaFolder(const std::filesystem::path& folder);
  ~MediaFolder();
  MediaFolder(const MediaFolder&) = delete;
  MediaFolder& operator=(const MediaFolder&) = delete;

  /// The content of a regular file. `name` is a path inside the folder, or "file://" and one, or "file://" and an
  /// absolute path that begins with the folder's; in URLs %20 stands for a blank. The system itself keeps it inside:
  /// symbolic links are not followed. Throws Error refused for paths that lead out, not_found, unsupported for other
  /// kinds of files and those larger than `limit_bytes`, io. Messages do not repeat the name.
  std::string read(std::string_view name, size_t limit_bytes) const;

 private:
  std::string folder_;  // absolute, without a slash at the end
  int descriptor_ = -1;
};

}  // namespace minicpm::server
