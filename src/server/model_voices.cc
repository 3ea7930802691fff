#include "server/model_voices.h"

#include <algorithm>
#include <array>

#include "engine/speech_files.h"
#include "media/sound.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 2> kClips = {"female", "male"};

/// Empty where there is none.
fs::path clip_file(const ServedModel& model, std::string_view name) {
  if (model.folder.empty() || std::ranges::find(kClips, name) == kClips.end()) return {};
  fs::path file = model.folder / "assets/ref_audios" / (std::string(name) + "_example.wav");
  std::error_code error;
  return fs::exists(file, error) ? file : fs::path();
}

}  // namespace

bool can_speak(const ServedModel& model) {
  return !model.folder.empty() && has_speech_files(model.folder);
}

std::vector<std::string> voice_names(const ServedModel& model) {
  if (!can_speak(model)) return {};
  std::vector<std::string> names = {"default"};
  for (const std::string_view name : kClips) {
    if (!clip_file(model, name).empty()) names.emplace_back(name);
  }
  return names;
}

std::optional<std::vector<float>> voice_clip(const ServedModel& model, std::string_view name) {
  const fs::path file = clip_file(model, name);
  if (file.empty()) return std::nullopt;
  return read_sound(file).samples;
}

}  // namespace minicpm::server
