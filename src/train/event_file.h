// TensorBoard event files: records framed as in TFRecord, each holding one protobuf Event.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace minicpm {

/// CRC-32C (Castagnoli) as the frames use it, before masking.
uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  /// Makes events.out.tfevents.<seconds>.<host> in `folder` under a name that is still free. `first_step` is the first
  /// one that will be written; readers forget what earlier files of the folder say about it and later ones. `time` is
  /// in seconds since 1970. Throws Error io, not_found.
  EventFile(const std::filesystem::path& folder, int64_t first_step, double time);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// One event with all scalars of a step, handed to the system at once. Throws Error io.
  void add(int64_t step, double time, std::span<const std::pair<std::string, double>> scalars);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(std::string_view event);

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace minicpm
