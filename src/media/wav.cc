#include "media/wav.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/error.h"

namespace minicpm {
namespace {

void append(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out += static_cast<char>(value >> (8 * i));
}

}  // namespace

std::string pcm16(std::span<const float> samples) {
  std::string out;
  out.reserve(2 * samples.size());
  for (const float sample : samples) {
    const float scaled = std::isnan(sample) ? 0.0f : std::clamp(sample * 32767.0f, -32768.0f, 32767.0f);
    append(out, static_cast<uint32_t>(std::lrint(scaled)), 2);
  }
  return out;
}

std::string wav_file(std::span<const float> samples, int rate) {
  constexpr size_t kMostBytes = UINT32_MAX - 64;  // sizes have 32 bits
  if (samples.size() > kMostBytes / 2) {
    fail(ErrorCode::kUnsupported, "{} samples are more than a WAV file can hold", samples.size());
  }
  const auto bytes = static_cast<uint32_t>(2 * samples.size());
  std::string out = "RIFF";
  append(out, 36 + bytes, 4);
  out += "WAVEfmt ";
  append(out, 16, 4);
  append(out, 1, 2);  // integers
  append(out, 1, 2);  // one channel
  append(out, static_cast<uint32_t>(rate), 4);
  append(out, static_cast<uint32_t>(2 * rate), 4);
  append(out, 2, 2);
  append(out, 16, 2);
  out += "data";
  append(out, bytes, 4);
  return out + pcm16(samples);
}

}  // namespace minicpm
