// A BPE vocabulary: tokens, their ids, and the merges in order of priority.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/merge.h"
#include "text/string_index.h"

namespace minicpm {

/// How a vocabulary writes bytes.
enum class BpeAlphabet {
  kByteLevel,     // one printable character per byte
  kByteFallback,  // characters; a space is U+2581; other bytes are tokens <0x00> ... <0xFF>
};

/// What a file says, not yet checked. Token i has id ids[i]; merge i joins merge_left[i] and merge_right[i].
struct BpeTables {
  StringList tokens;
  std::vector<int32_t> ids;
  StringList merge_left, merge_right;
};

class BpeModel {
 public:
  /// Throws Error bad_file naming `source`: duplicate or impossible ids, bytes without a token, merges of unknown
  /// tokens. Merges into a token of `blocked` (sorted ids) are left out, so that text never yields such an id.
  BpeModel(BpeTables tables, BpeAlphabet alphabet, bool ignore_merges, const std::vector<int32_t>& blocked,
           const std::string& source);

  /// Appends the ids of one word. For kByteFallback spaces must have been replaced by U+2581 before.
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;
  /// Appends one id per byte, for bytes that are not UTF-8.
  void encode_bytes(std::string_view bytes, std::vector<int32_t>& ids) const;

  /// The bytes a token stands for; empty for ids that no token has.
  std::string_view bytes(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < bytes_.size() ? bytes_[static_cast<size_t>(id)] : std::string_view();
  }
  /// The id of a token as the file spells it.
  std::optional<int32_t> id_of_spelling(std::string_view text) const;
  /// The id of the token that stands for `bytes`.
  std::optional<int32_t> id_of_bytes(std::string_view bytes) const;
  /// Largest id + 1.
  int32_t id_limit() const { return static_cast<int32_t>(bytes_.size()); }

 private:
  struct PairSlot {
    uint64_t pair;
    uint32_t priority;
    int32_t id;
  };
  void check_ids(const std::string& source) const;
  void build_bytes();
  void find_byte_tokens(const std::string& source);
  void build_merges(const BpeTables& tables, const std::string& source);
  bool is_blocked(int32_t id) const;
  std::vector<MergeSymbol> initial_symbols(std::string_view word) const;
  const PairSlot* find_pair(int32_t left, int32_t right) const;

  BpeAlphabet alphabet_;
  bool ignore_merges_;
  StringList spellings_;          // in file order
  std::vector<int32_t> ids_;      // of spellings_[i]
  StringIndex index_;             // over spellings_
  std::vector<int32_t> blocked_;  // sorted
  StringList bytes_;              // by id
  int32_t byte_ids_[256];
  std::vector<PairSlot> pairs_;  // open addressing, at most half full; id -1 marks an empty slot
};

}  // namespace minicpm
