#include "media/sound_writer.h"

#include <algorithm>

#include "base/companion.h"
#include "base/error.h"
#include "base/log.h"
#include "media/wav.h"

namespace minicpm {

SoundFormat sound_format(const std::filesystem::path& file) {
  constexpr std::pair<std::string_view, SoundFormat> kEndings[] = {
      {".wav", SoundFormat::kWav},    {".mp3", SoundFormat::kMp3},   {".flac", SoundFormat::kFlac},
      {".ogg", SoundFormat::kVorbis}, {".opus", SoundFormat::kOpus}, {".m4a", SoundFormat::kAac}};
  std::string ending = file.extension().string();
  std::ranges::transform(ending, ending.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  for (const auto& [known, format] : kEndings) {
    if (ending == known) return format;
  }
  fail(ErrorCode::kInvalidRequest, "{}: sound is written as .wav, .mp3, .flac, .ogg, .opus or .m4a", file.string());
}

std::string encode_sound(std::span<const float> samples, int rate, SoundFormat format) {
  if (format == SoundFormat::kWav) return wav_file(samples, rate);
  using Encode = void(std::span<const float>, int, SoundFormat, std::string&, void (*)(LogLevel, std::string_view));
  static auto* const encode = reinterpret_cast<Encode*>(
      load_companion("libminicpm_video.so", "minicpm_encode_sound", "this build cannot write compressed sound files"));
  std::string bytes;
  encode(samples, rate, format, bytes, &log_message);
  return bytes;
}

}  // namespace minicpm
