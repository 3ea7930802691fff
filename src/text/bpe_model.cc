#include "text/bpe_model.h"

#include <algorithm>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/space_mark.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t pair_hash(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio: spreads consecutive ids
  return static_cast<size_t>(pair ^ pair >> 32);
}

}  // namespace

BpeModel::BpeModel(BpeTables tables, BpeAlphabet alphabet, bool ignore_merges, const std::vector<int32_t>& blocked,
                   const std::string& source)
    : alphabet_(alphabet),
      ignore_merges_(ignore_merges),
      spellings_(std::move(tables.tokens)),
      ids_(std::move(tables.ids)),
      index_(spellings_.size()),
      blocked_(blocked) {
  MINICPM_CHECK(ids_.size() == spellings_.size() && tables.merge_left.size() == tables.merge_right.size());
  check_ids(source);
  for (size_t i = 0; i < spellings_.size(); ++i) {
    if (!index_.insert(spellings_, i)) {
      fail(ErrorCode::kBadFile, "{}: the vocabulary lists \"{}\" twice", source, spellings_[i]);
    }
  }
  build_bytes();
  find_byte_tokens(source);
  build_merges(tables, source);
}

void BpeModel::check_ids(const std::string& source) const {
  // Ids may have gaps, but a file must not make us allocate much more than it holds.
  const size_t limit = 2 * ids_.size() + 65536;
  std::vector<bool> seen;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const auto id = static_cast<size_t>(ids_[i]);
    if (ids_[i] < 0 || id >= limit) {
      fail(ErrorCode::kBadFile, "{}: token \"{}\" has id {}, expected 0 to {}", source, spellings_[i], ids_[i],
           limit - 1);
    }
    if (id >= seen.size()) seen.resize(std::max(id + 1, 2 * seen.size()));
    if (seen[id]) fail(ErrorCode::kBadFile, "{}: two tokens of the vocabulary have id {}", source, ids_[i]);
    seen[id] = true;
  }
}

void BpeModel::build_bytes() {
  const int32_t last = ids_.empty() ? -1 : *std::max_element(ids_.begin(), ids_.end());
  constexpr size_t kAbsent = SIZE_MAX;
  std::vector<size_t> by_id(static_cast<size_t>(last + 1), kAbsent);
  for (size_t i = 0; i < ids_.size(); ++i)
    by_id[static_cast<size_t>(ids_[i])] = i;
  bytes_.reserve(by_id.size(), spellings_.total_bytes());
  for (const size_t i : by_id) {
    if (i == kAbsent) {
      bytes_.push_back("");
    } else if (alphabet_ == BpeAlphabet::kByteLevel) {
      const auto bytes = from_byte_level(spellings_[i]);
      bytes_.push_back(bytes ? std::string_view(*bytes) : spellings_[i]);
    } else if (const auto byte = byte_of_token_name(spellings_[i])) {
      const char c = static_cast<char>(*byte);
      bytes_.push_back({&c, 1});
    } else {
      bytes_.push_back(from_space_marks(spellings_[i]));
    }
  }
}

void BpeModel::find_byte_tokens(const std::string& source) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string name = alphabet_ == BpeAlphabet::kByteLevel
                                 ? std::string(byte_level_character(static_cast<uint8_t>(byte)))
                                 : byte_token_name(static_cast<uint8_t>(byte));
    const auto id = id_of_spelling(name);
    if (!id) {
      fail(ErrorCode::kBadFile, "{}: the vocabulary has no token \"{}\" for byte 0x{:02X}", source, name, byte);
    }
    byte_ids_[byte] = *id;
  }
}

void BpeModel::build_merges(const BpeTables& tables, const std::string& source) {
  size_t slots = 16;
  while (slots < 2 * tables.merge_left.size())
    slots *= 2;
  pairs_.assign(slots, {0, 0, -1});
  std::string merged;
  for (size_t i = 0; i < tables.merge_left.size(); ++i) {
    const auto left = id_of_spelling(tables.merge_left[i]);
    const auto right = id_of_spelling(tables.merge_right[i]);
    merged.assign(tables.merge_left[i]).append(tables.merge_right[i]);
    const auto result = id_of_spelling(merged);
    if (!left || !right || !result) {
      fail(ErrorCode::kBadFile, "{}: merge {} names \"{}\", which is not in the vocabulary", source, i,
           !left    ? tables.merge_left[i]
           : !right ? tables.merge_right[i]
                    : std::string_view(merged));
    }
    if (is_blocked(*result)) continue;
    const uint64_t pair = pair_key(*left, *right);
    size_t slot = pair_hash(pair) & (slots - 1);
    while (pairs_[slot].id >= 0 && pairs_[slot].pair != pair)
      slot = (slot + 1) & (slots - 1);
    pairs_[slot] = {pair, static_cast<uint32_t>(i), *result};  // of a repeated pair the last one counts
  }
}

bool BpeModel::is_blocked(int32_t id) const {
  return std::binary_search(blocked_.begin(), blocked_.end(), id);
}

const BpeModel::PairSlot* BpeModel::find_pair(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  const size_t mask = pairs_.size() - 1;
  for (size_t slot = pair_hash(pair) & mask; pairs_[slot].id >= 0; slot = (slot + 1) & mask) {
    if (pairs_[slot].pair == pair) return &pairs_[slot];
  }
  return nullptr;
}

std::optional<int32_t> BpeModel::id_of_spelling(std::string_view text) const {
  const auto i = index_.find(spellings_, text);
  return i ? std::optional(ids_[*i]) : std::nullopt;
}

std::optional<int32_t> BpeModel::id_of_bytes(std::string_view bytes) const {
  return id_of_spelling(alphabet_ == BpeAlphabet::kByteLevel ? to_byte_level(bytes) : to_space_marks(bytes));
}

void BpeModel::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.size() > INT32_MAX) {
    fail(ErrorCode::kInvalidRequest, "a text of {} bytes is too long to be encoded", word.size());
  }
  if (ignore_merges_) {
    const auto id = id_of_spelling(alphabet_ == BpeAlphabet::kByteLevel ? to_byte_level(word) : std::string(word));
    if (id && !is_blocked(*id)) {
      ids.push_back(*id);
      return;
    }
  }
  std::vector<MergeSymbol> symbols = initial_symbols(word);
  merge_symbols(symbols, [this](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
    const PairSlot* pair = find_pair(left.id, right.id);
    if (pair == nullptr) return std::nullopt;
    return MergeCandidate{pair->priority, pair->id};
  });
  for (const MergeSymbol& symbol : symbols)
    ids.push_back(symbol.id);
}

std::vector<MergeSymbol> BpeModel::initial_symbols(std::string_view word) const {
  std::vector<MergeSymbol> symbols;
  symbols.reserve(word.size());
  const auto push_bytes = [&](size_t at, size_t length) {
    for (size_t i = at; i < at + length; ++i)
      symbols.push_back({byte_ids_[static_cast<uint8_t>(word[i])], static_cast<uint32_t>(i), 1});
  };
  if (alphabet_ == BpeAlphabet::kByteLevel) {
    push_bytes(0, word.size());
    return symbols;
  }
  for (size_t at = 0; at < word.size();) {
    const size_t length = next_utf8(word.substr(at)).length;
    const auto id = id_of_spelling(word.substr(at, length));
    if (id && !is_blocked(*id)) {
      symbols.push_back({*id, static_cast<uint32_t>(at), static_cast<uint32_t>(length)});
    } else {
      push_bytes(at, length);
    }
    at += length;
  }
  return symbols;
}

void BpeModel::encode_bytes(std::string_view bytes, std::vector<int32_t>& ids) const {
  for (const char byte : bytes)
    ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
}

}  // namespace minicpm
