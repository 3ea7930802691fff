// Sound as files: WAV, and through FFmpeg MP3, FLAC, Ogg Vorbis, Opus and AAC in M4A.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace minicpm {

/// What the ending of a file name asks for.
enum class SoundFormat { kWav, kMp3, kFlac, kVorbis, kOpus, kAac };

/// By the ending: .wav, .mp3, .flac, .ogg, .opus, .m4a. Throws Error invalid_request for others.
SoundFormat sound_format(const std::filesystem::path& file);

/// A whole file of mono samples, -1 to 1; what lies beyond is cut. Throws Error unsupported if this FFmpeg does not
/// have the encoder or the encoder not the rate.
std::string encode_sound(std::span<const float> samples, int rate, SoundFormat format);

}  // namespace minicpm
