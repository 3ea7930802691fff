#include "media/sound.h"

#include <new>

#include "base/companion.h"
#include "base/error.h"
#include "base/file_map.h"
#include "base/log.h"
#include "media/video_source.h"

namespace minicpm {
namespace {

Sound decode(std::span<const std::byte> bytes, const std::string& name, const SoundOptions& options,
             const std::atomic<bool>* cancel) {
  if (bytes.empty()) fail(ErrorCode::kBadFile, "{}: is empty, expected a sound file", name);
  if (options.rate < 1000 || options.rate > 384000) {
    fail(ErrorCode::kInvalidRequest, "sound at {} samples a second, expected 1000 to 384000", options.rate);
  }
  using Read = void(const VideoFile&, const SoundOptions&, const std::atomic<bool>*, Sound&,
                    void (*)(LogLevel, std::string_view));
  static auto* const read = reinterpret_cast<Read*>(
      load_companion("libminicpm_video.so", "minicpm_read_sound", "this build cannot read sound files"));
  const VideoFile file{bytes, name, {}};
  Sound sound;
  try {
    read(file, options, cancel, sound, &log_message);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "{}: no memory for its sound", name);
  }
  return sound;
}

}  // namespace

Sound read_sound(const std::filesystem::path& file, const SoundOptions& options, const std::atomic<bool>* cancel) {
  const auto map = FileMap::open(file);
  return decode(map->bytes(), file.string(), options, cancel);
}

Sound sound_from_bytes(const std::string& bytes, const std::string& name, const SoundOptions& options,
                       const std::atomic<bool>* cancel) {
  return decode(std::as_bytes(std::span(bytes)), name, options, cancel);
}

}  // namespace minicpm
