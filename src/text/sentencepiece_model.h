// A SentencePiece vocabulary of the BPE kind: pieces with scores and types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/string_index.h"

namespace minicpm {

/// Values as in the model file and in GGUF.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,  // always matched in text, never merged further
  kUnused = 5,       // may arise while merging, then taken apart again
  kByte = 6,
};

/// What a file says. A piece's id is its position.
struct SentencePieceModel {
  StringList pieces;  // U+2581 for a space
  std::vector<float> scores;
  std::vector<PieceType> types;
  bool byte_fallback = false;     // characters without a piece become their bytes
  bool add_space_prefix = false;  // U+2581 before each text
  std::optional<int32_t> bos, eos;
};

/// Reads a SentencePiece model file (protocol buffers). Throws Error bad_file for damaged content and unsupported for
/// other kinds of model and for text normalisation.
SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& source);

}  // namespace minicpm
