// Where the parts of speech lie: in a Hugging Face folder, or in the projector file of a GGUF pair.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "io/model_files.h"
#include "io/weight_source.h"
#include "models/speech_decoder.h"

namespace minicpm {

/// The vocoder's weights in a folder, *.safetensors or *.pt; empty if it has none.
std::filesystem::path find_vocoder(const std::filesystem::path& folder);
/// The same, opened. Throws Error not_found, and as reading such files does.
std::unique_ptr<WeightSource> open_vocoder(const std::filesystem::path& folder);
/// The speech decoder's tokenizer in a folder, whether it is there or not.
std::filesystem::path speech_words_file(const std::filesystem::path& folder);
/// Its text. Throws Error not_found, io, bad_file.
std::string read_speech_words(const std::filesystem::path& folder);

/// Whether vocoder and tokenizer are there, or the projector file holds a speech decoder. Throws Error as
/// GgufFile::open.
bool has_speech_files(const ModelFiles& files);
/// Where clips of voices that come with the model may lie: the folder, or that of the GGUF file.
std::filesystem::path voice_folder(const ModelFiles& files);

/// All that speaks. `vocoder` is null where `weights` holds it, too.
struct SpeechSources {
  std::unique_ptr<WeightSource> weights, vocoder;
  std::string vocoder_prefix;  // of its tensors
  SpeechConfig config;
  std::string words;  // the text of a tokenizer.json
  std::string path;   // for messages
};
/// Throws Error not_found for files without speech, bad_file, unsupported, io.
SpeechSources open_speech(const ModelFiles& files);

}  // namespace minicpm
