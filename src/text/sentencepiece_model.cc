#include "text/sentencepiece_model.h"

#include <bit>
#include <cstring>

#include "base/error.h"

namespace minicpm {
namespace {

/// One field of a protocol buffers message.
struct ProtoField {
  uint32_t number = 0;
  uint64_t integer = 0;    // varint and fixed-width fields
  std::string_view bytes;  // length-delimited fields
  bool is_bytes = false;
};

/// Reads the fields of one message in order, never beyond its end.
class ProtoReader {
 public:
  ProtoReader(std::string_view bytes, const std::string& source) : rest_(bytes), source_(source) {}

  /// False at the end of the message.
  bool next(ProtoField& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    field = {};
    field.number = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        field.integer = varint();
        break;
      case 1:
        field.integer = fixed(8);
        break;
      case 2: {
        const uint64_t size = varint();
        field.bytes = take(size);
        field.is_bytes = true;
        break;
      }
      case 5:
        field.integer = fixed(4);
        break;
      default:
        fail(ErrorCode::kBadFile, "{}: not a SentencePiece model: field {} has the unknown wire type {}", source_,
             field.number, tag & 7);
    }
    return true;
  }

 private:
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) {
      fail(ErrorCode::kBadFile, "{}: not a SentencePiece model, or cut off: a field needs {} bytes, {} are left",
           source_, size, rest_.size());
    }
    const std::string_view result = rest_.substr(0, static_cast<size_t>(size));
    rest_.remove_prefix(static_cast<size_t>(size));
    return result;
  }
  uint64_t fixed(size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, take(size).data(), size);  // little-endian in the file and on every supported machine
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7Fu) << shift;
      if (byte < 0x80) return value;
    }
    fail(ErrorCode::kBadFile, "{}: not a SentencePiece model: a number has more than 10 bytes", source_);
  }

  std::string_view rest_;
  const std::string& source_;
};

// Field numbers and defaults of sentencepiece_model.proto.
namespace model_field {
constexpr uint32_t kPieces = 1, kTrainer = 2, kNormalizer = 3;
}
namespace piece_field {
constexpr uint32_t kPiece = 1, kScore = 2, kType = 3;
}
namespace trainer_field {
constexpr uint32_t kModelType = 3, kSuffixSpaces = 24, kByteFallback = 35, kBos = 41, kEos = 42;
}
namespace normalizer_field {
constexpr uint32_t kCharsMap = 2, kDummyPrefix = 3, kRemoveSpaces = 4, kEscapeSpaces = 5;
}
constexpr uint64_t kModelTypeUnigram = 1, kModelTypeBpe = 2;

void read_piece(std::string_view bytes, const std::string& source, SentencePieceModel& model) {
  std::string_view text;
  float score = 0;
  uint64_t type = static_cast<uint64_t>(PieceType::kNormal);
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    if (field.number == piece_field::kPiece && field.is_bytes) text = field.bytes;
    if (field.number == piece_field::kScore) score = std::bit_cast<float>(static_cast<uint32_t>(field.integer));
    if (field.number == piece_field::kType) type = field.integer;
  }
  if (type < 1 || type > 6) {
    fail(ErrorCode::kBadFile, "{}: piece {} has type {}, expected 1 to 6", source, model.pieces.size(), type);
  }
  model.pieces.push_back(text);
  model.scores.push_back(score);
  model.types.push_back(static_cast<PieceType>(type));
}

/// The ids as the file gives them, not yet checked against the number of pieces.
struct TrainerFacts {
  uint64_t model_type = kModelTypeUnigram;
  bool suffix_spaces = false;
  bool byte_fallback = false;
  int32_t bos = 1;
  int32_t eos = 2;
};

TrainerFacts read_trainer(std::string_view bytes, const std::string& source) {
  TrainerFacts facts;
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    switch (field.number) {
      case trainer_field::kModelType:
        facts.model_type = field.integer;
        break;
      case trainer_field::kSuffixSpaces:
        facts.suffix_spaces = field.integer != 0;
        break;
      case trainer_field::kByteFallback:
        facts.byte_fallback = field.integer != 0;
        break;
      case trainer_field::kBos:
        facts.bos = static_cast<int32_t>(field.integer);
        break;
      case trainer_field::kEos:
        facts.eos = static_cast<int32_t>(field.integer);
        break;
      default:
        break;
    }
  }
  return facts;
}

void read_normalizer(std::string_view bytes, const std::string& source, SentencePieceModel& model) {
  bool remove_spaces = true;
  bool escape_spaces = true;
  bool has_map = false;
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    switch (field.number) {
      case normalizer_field::kCharsMap:
        has_map = !field.bytes.empty();
        break;
      case normalizer_field::kDummyPrefix:
        model.add_space_prefix = field.integer != 0;
        break;
      case normalizer_field::kRemoveSpaces:
        remove_spaces = field.integer != 0;
        break;
      case normalizer_field::kEscapeSpaces:
        escape_spaces = field.integer != 0;
        break;
      default:
        break;
    }
  }
  if (has_map || remove_spaces || !escape_spaces) {
    fail(ErrorCode::kUnsupported,
         "{}: expected a model that leaves the text as it is (identity normaliser, white space kept), found {}", source,
         has_map         ? "a character map"
         : remove_spaces ? "remove_extra_whitespaces"
                         : "escape_whitespaces off");
  }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& source) {
  SentencePieceModel model;
  model.add_space_prefix = true;  // the format's default
  std::string_view trainer, normalizer;
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    if (!field.is_bytes) continue;
    if (field.number == model_field::kPieces) read_piece(field.bytes, source, model);
    if (field.number == model_field::kTrainer) trainer = field.bytes;
    if (field.number == model_field::kNormalizer) normalizer = field.bytes;
  }
  if (model.pieces.size() == 0) fail(ErrorCode::kBadFile, "{}: a SentencePiece model without pieces", source);
  const TrainerFacts facts = read_trainer(trainer, source);
  if (facts.model_type != kModelTypeBpe || facts.suffix_spaces) {
    fail(ErrorCode::kUnsupported, "{}: expected a SentencePiece model of the BPE kind (2), found {}{}", source,
         facts.model_type, facts.suffix_spaces ? " with spaces as suffixes" : "");
  }
  read_normalizer(normalizer, source, model);
  model.byte_fallback = facts.byte_fallback;
  const auto count = static_cast<int64_t>(model.pieces.size());
  if (facts.bos >= 0 && facts.bos < count) model.bos = facts.bos;
  if (facts.eos >= 0 && facts.eos < count) model.eos = facts.eos;
  return model;
}

}  // namespace minicpm
