// Where the parts of speech lie in a Hugging Face folder.
#pragma once

#include <filesystem>

namespace minicpm {

/// The vocoder's weights, *.safetensors or *.pt; empty if the folder has none.
std::filesystem::path find_vocoder(const std::filesystem::path& folder);
/// The speech decoder's tokenizer, whether it is there or not.
std::filesystem::path speech_words_file(const std::filesystem::path& folder);
/// Whether the folder has both.
bool has_speech_files(const std::filesystem::path& folder);

}  // namespace minicpm
