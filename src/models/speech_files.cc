#include "models/speech_files.h"

#include "base/error.h"
#include "base/file_map.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/torch_file.h"
#include "models/model_config.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTokenizerBytes = 64u << 20;

SpeechSources open_gguf_speech(const ModelFiles& files) {
  std::unique_ptr<GgufFile> mmproj;
  if (!files.mmproj.empty()) mmproj = GgufFile::open(files.mmproj);
  if (mmproj == nullptr || !has_speech(*mmproj)) {
    fail(ErrorCode::kNotFound, "{}: there is no projector file beside it that holds a speech decoder",
         files.gguf.string());
  }
  SpeechSources sources;
  sources.config = read_speech_config(*mmproj);
  sources.path = mmproj->path();
  const auto words = mmproj->find_string(kSpeechTokenizerKey);
  if (!words) fail(ErrorCode::kBadFile, "{}: metadata key {} is missing", sources.path, kSpeechTokenizerKey);
  sources.words = *words;
  sources.vocoder_prefix = kVocoderPrefixGguf;
  sources.weights = std::move(mmproj);
  return sources;
}

}  // namespace

fs::path find_vocoder(const fs::path& folder) {
  for (const char* name : {"assets/vocos.safetensors", "vocos.safetensors", "assets/Vocos.pt", "Vocos.pt"}) {
    std::error_code error;
    if (fs::exists(folder / name, error)) return folder / name;
  }
  return {};
}

std::unique_ptr<WeightSource> open_vocoder(const fs::path& folder) {
  const fs::path path = find_vocoder(folder);
  if (path.empty()) {
    fail(ErrorCode::kNotFound, "{}: the vocoder's weights are missing (assets/Vocos.pt or assets/vocos.safetensors)",
         folder.string());
  }
  return path.extension() == ".pt" ? open_torch_file(path) : open_safetensors(path);
}

fs::path speech_words_file(const fs::path& folder) {
  return folder / "assets/chattts_tokenizer/tokenizer.json";
}

std::string read_speech_words(const fs::path& folder) {
  return read_file(speech_words_file(folder), kMaxTokenizerBytes);
}

bool has_speech_files(const ModelFiles& files) {
  if (files.kind == ModelFiles::Kind::kGguf) return !files.mmproj.empty() && has_speech(*GgufFile::open(files.mmproj));
  std::error_code error;
  return !find_vocoder(files.folder).empty() && fs::exists(speech_words_file(files.folder), error);
}

fs::path voice_folder(const ModelFiles& files) {
  if (files.kind != ModelFiles::Kind::kGguf) return files.folder;
  return files.gguf.has_parent_path() ? files.gguf.parent_path() : fs::path(".");
}

SpeechSources open_speech(const ModelFiles& files) {
  if (files.kind == ModelFiles::Kind::kGguf) return open_gguf_speech(files);
  SpeechSources sources;
  sources.weights = open_safetensors_folder(files.folder);
  sources.vocoder = open_vocoder(files.folder);
  sources.words = read_speech_words(files.folder);
  sources.config = read_speech_config(files.folder / "config.json");
  sources.path = files.folder.string();
  return sources;
}

}  // namespace minicpm
