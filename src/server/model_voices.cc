#include "server/model_voices.h"

#include <algorithm>
#include <array>

#include "io/model_files.h"
#include "media/sound.h"
#include "models/speech_files.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 2> kClips = {"female", "male"};

/// Neither a folder nor a file for a model that has none.
ModelFiles files_of(const ServedModel& model) {
  if (model.gguf) return find_model_files(model.spec.model, model.spec.mmproj);
  ModelFiles files;
  files.folder = model.folder;
  return files;
}

/// Empty where there is none.
fs::path clip_file(const ServedModel& model, std::string_view name) {
  if (std::ranges::find(kClips, name) == kClips.end()) return {};
  const fs::path folder = voice_folder(files_of(model));
  if (folder.empty()) return {};
  fs::path file = folder / "assets/ref_audios" / (std::string(name) + "_example.wav");
  std::error_code error;
  return fs::exists(file, error) ? file : fs::path();
}

}  // namespace

bool can_speak(const ServedModel& model) {
  const ModelFiles files = files_of(model);
  return !voice_folder(files).empty() && has_speech_files(files);
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
