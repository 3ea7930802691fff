// Voices and formats of sound in requests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "media/sound_writer.h"
#include "server/json_body.h"
#include "server/media_parts.h"
#include "server/served_models.h"

namespace minicpm::server {

struct SoundKind {
  std::string_view name, content_type;
  std::optional<SoundFormat> file;  // none: raw samples as they are made
};

/// mp3, wav, flac, opus, aac, ogg; pcm, or pcm16 as chat completions call it. Null for others.
const SoundKind* find_sound_kind(std::string_view name);

/// A clip of "voice", mono at 16 kHz; nothing for the model's own voice. "female" and "male" are the clips of the
/// official demonstration, where the model's folder has them. Throws ApiError 400.
std::optional<std::vector<float>> read_voice(const Fields& body, const ServedModel& model, MediaReader& media);

}  // namespace minicpm::server
