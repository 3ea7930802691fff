// Sound files as samples: WAV, MP3, FLAC, OGG, Opus, AAC, the sound of videos and others, through FFmpeg.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace minicpm {

/// Mono samples, -1 to 1.
struct Sound {
  std::vector<float> samples;
  int rate = 0;  // samples a second

  double seconds() const { return rate > 0 ? static_cast<double>(samples.size()) / rate : 0; }
};

struct SoundOptions {
  int rate = 16000;               // of the result; other rates are resampled by libsoxr (quality of 20 bits)
  double max_seconds = 6 * 3600;  // longer sound is refused
};

/// Reads the first sound stream; channels are mixed to one. What is no number in files of floats is silence. Throws
/// Error not_found, io; bad_file for what is damaged or holds no sound, unsupported for formats and codecs that are not
/// read and for sound beyond the limit, cancelled when `cancel` is set. Messages name the file.
Sound read_sound(const std::filesystem::path& file, const SoundOptions& options = {},
                 const std::atomic<bool>* cancel = nullptr);
/// A file in memory; `name` stands in messages.
Sound sound_from_bytes(const std::string& bytes, const std::string& name, const SoundOptions& options = {},
                       const std::atomic<bool>* cancel = nullptr);

}  // namespace minicpm
