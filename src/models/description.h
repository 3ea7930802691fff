// What a model's files say without its weights: the configuration and the tokenizer. Training and tools start from it.
#pragma once

#include <memory>

#include "io/model_files.h"
#include "models/model_config.h"
#include "text/tokenizer.h"

namespace minicpm {

struct ModelDescription {
  ModelConfig config;  // its version names the defaults of generation
  std::unique_ptr<Tokenizer> tokenizer;
};

/// The configuration alone. Throws Error as read_description.
ModelConfig read_config(const ModelFiles& files);

/// Reads config.json, preprocessor_config.json and the tokenizer files of a Hugging Face folder, or the metadata of a
/// GGUF file (pair). Throws Error not_found, io, bad_file, unsupported.
ModelDescription read_description(const ModelFiles& files);

/// Throws Error bad_file if the tokenizer has more tokens than the embedding has rows.
void check_vocabulary(const ModelConfig& config, const Tokenizer& tokenizer);

}  // namespace minicpm
