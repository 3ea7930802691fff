// The vocabulary in the metadata of a GGUF language model.
#pragma once

#include "io/gguf.h"
#include "text/tokenizer_loader.h"

namespace minicpm {

/// Reads the tokenizer.ggml.* keys. Throws Error bad_file when the tokens are missing, or lists of scores or types do
/// not have one entry per token. Ids of special tokens outside the vocabulary are dropped with a warning.
GgufVocabulary read_vocabulary(const GgufFile& file);

/// The reverse, for writers. Empty lists and unset ids are left out.
void write_vocabulary(const GgufVocabulary& vocabulary, GgufWriter& writer);

}  // namespace minicpm
