#include "server/voices.h"

#include <algorithm>
#include <iterator>

#include "server/api_error.h"
#include "server/model_voices.h"

namespace minicpm::server {
namespace {

constexpr SoundKind kKinds[] = {
    {"mp3", "audio/mpeg", SoundFormat::kMp3},   {"wav", "audio/wav", SoundFormat::kWav},
    {"flac", "audio/flac", SoundFormat::kFlac}, {"opus", "audio/ogg", SoundFormat::kOpus},
    {"aac", "audio/mp4", SoundFormat::kAac},    {"ogg", "audio/ogg", SoundFormat::kVorbis},
    {"pcm", "audio/pcm", std::nullopt},         {"pcm16", "audio/pcm", std::nullopt},
};

}  // namespace

const SoundKind* find_sound_kind(std::string_view name) {
  const auto* found = std::ranges::find(kKinds, name, &SoundKind::name);
  return found == std::end(kKinds) ? nullptr : found;
}

std::optional<std::vector<float>> read_voice(const Fields& body, const ServedModel& model, MediaReader& media) {
  const Json* voice = body.find("voice");
  if (voice == nullptr || *voice == "default") return std::nullopt;
  if (voice->is_object()) {
    const Fields clip(*voice, body.path("voice"));
    check_fields(clip, {{"data"}, {"format"}, {}});
    const std::string path = clip.path("data");
    return *media.sound(media.from_base64(clip.required_string("data"), path), path).sound;
  }
  if (*voice != "female" && *voice != "male") {
    bad_field(body.path("voice"), "must be default, female, male, or an object with a clip in base64 as data");
  }
  std::optional<std::vector<float>> clip = voice_clip(model, voice->get<std::string>());
  if (!clip) bad_field(body.path("voice"), "the model's folder has no such voice");
  return clip;
}

}  // namespace minicpm::server
