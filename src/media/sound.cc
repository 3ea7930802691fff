#include "media/sound.h"

#include <new>

#include "base/error.h"
#include "base/file_map.h"
#include "media/video_source.h"

namespace minicpm {
namespace {

Sound decode(std::span<const std::byte> bytes, const std::string& name, const SoundOptions& options,
             const std::atomic<bool>* cancel) {
  if (bytes.empty()) fail(ErrorCode::kBadFile, "{}: is empty, expected a sound file", name);
  if (options.rate < 1000 || options.rate > 384000) {
    fail(ErrorCode::kInvalidRequest, "sound at {} samples a second, expected 1000 to 384000", options.rate);
  }
  const MediaFile file{bytes, name, {}};
  Sound sound;
  try {
    read_sound_with_ffmpeg(file, options, cancel, sound);
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
