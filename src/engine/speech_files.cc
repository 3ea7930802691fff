#include "engine/speech_files.h"

namespace minicpm {

namespace fs = std::filesystem;

fs::path find_vocoder(const fs::path& folder) {
  for (const char* name : {"assets/vocos.safetensors", "vocos.safetensors", "assets/Vocos.pt", "Vocos.pt"}) {
    std::error_code error;
    if (fs::exists(folder / name, error)) return folder / name;
  }
  return {};
}

fs::path speech_words_file(const fs::path& folder) {
  return folder / "assets/chattts_tokenizer/tokenizer.json";
}

bool has_speech_files(const fs::path& folder) {
  std::error_code error;
  return !find_vocoder(folder).empty() && fs::exists(speech_words_file(folder), error);
}

}  // namespace minicpm
