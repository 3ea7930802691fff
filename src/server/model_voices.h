// The voices that clients may name: "default", the model's own, and "female" and "male", clips of the official
// demonstration, where the model's folder has them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/served_models.h"

namespace minicpm::server {

/// Whether its files hold what speaks.
bool can_speak(const ServedModel& model);

/// None for a model that does not speak.
std::vector<std::string> voice_names(const ServedModel& model);

/// The clip of a voice, mono at 16 kHz; nothing where the folder has none of that name. Throws Error as read_sound.
std::optional<std::vector<float>> voice_clip(const ServedModel& model, std::string_view name);

}  // namespace minicpm::server
