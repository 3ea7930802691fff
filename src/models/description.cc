#include "models/description.h"

#include "io/gguf_vocabulary.h"
#include "text/tokenizer_loader.h"

namespace minicpm {

void check_vocabulary(const ModelConfig& config, const Tokenizer& tokenizer) {
  if (tokenizer.vocab_size() <= config.decoder.vocab_size) return;
  fail(ErrorCode::kBadFile, "{}: the tokenizer has {} tokens, more than the {} rows of the embedding table",
       config.source, tokenizer.vocab_size(), config.decoder.vocab_size);
}

ModelConfig read_config(const ModelFiles& files) {
  if (files.kind == ModelFiles::Kind::kHuggingFace) {
    const auto preprocessor = files.folder / "preprocessor_config.json";
    return read_hf_config(files.folder / "config.json",
                          std::filesystem::exists(preprocessor) ? preprocessor : std::filesystem::path());
  }
  const auto language = GgufFile::open(files.gguf);
  const auto projector = files.mmproj.empty() ? nullptr : GgufFile::open(files.mmproj);
  return read_gguf_config(*language, projector.get());
}

ModelDescription read_description(const ModelFiles& files) {
  ModelDescription description;
  if (files.kind == ModelFiles::Kind::kHuggingFace) {
    description.config = read_config(files);
    description.tokenizer = load_tokenizer(files.folder);
  } else {
    const auto language = GgufFile::open(files.gguf);
    const auto projector = files.mmproj.empty() ? nullptr : GgufFile::open(files.mmproj);
    description.config = read_gguf_config(*language, projector.get());
    description.tokenizer = make_tokenizer(read_vocabulary(*language));
  }
  check_vocabulary(description.config, *description.tokenizer);
  return description;
}

}  // namespace minicpm
