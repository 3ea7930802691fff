// Small tokenizers for tests, made here so that no published vocabulary is needed.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_level.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_loader.h"

namespace minicpm::testing {

inline Json added_token(int id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

/// Merges of the small vocabulary, in byte-level spelling.
inline std::vector<std::pair<std::string, std::string>> small_merges() {
  return {{"h", "e"}, {"l", "l"},   {"he", "ll"}, {"hell", "o"}, {"Ġ", "w"}, {"Ġw", "or"}, {"o", "r"},
          {"a", "a"}, {"aa", "aa"}, {"Ġ", "Ġ"},   {"Ã", "©"},    {"l", "d"}, {"<", "|"},   {"|", ">"}};
}

/// A tokenizer.json in the manner of Qwen: 256 byte tokens (ids 0 to 255), the merges, and four added tokens.
inline Json small_json() {
  Json vocab = Json::object();
  int next = 0;
  for (int byte = 0; byte < 256; ++byte)
    vocab[std::string(byte_level_character(static_cast<uint8_t>(byte)))] = next++;
  Json merges = Json::array();
  for (const auto& [left, right] : small_merges()) {
    merges.push_back({left, right});
    if (!vocab.contains(left)) vocab[left] = next++;
    if (!vocab.contains(left + right)) vocab[left + right] = next++;
  }
  Json root;
  root["version"] = "1.0";
  root["added_tokens"] = {added_token(300, "<|im_start|>", true), added_token(301, "<|im_end|>", true),
                          added_token(302, "<think>", false), added_token(303, "<|im_end|>x", true)};
  root["normalizer"] = {{"type", "NFC"}};
  Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  root["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}};
  root["model"] = {{"type", "BPE"}, {"ignore_merges", false}, {"vocab", vocab}, {"merges", merges}};
  return root;
}

inline std::unique_ptr<Tokenizer> small_tokenizer() {
  return make_tokenizer_from_json(small_json().dump(), "small.json");
}

/// The error that `action` ends with; code kInternal and "no error" without one.
inline std::pair<ErrorCode, std::string> error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::kInternal, "no error"};
}

/// Writes the fields of a protocol buffers message.
class ProtoWriter {
 public:
  ProtoWriter& integer(unsigned field, uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }
  ProtoWriter& text(unsigned field, std::string_view bytes) {
    varint(field << 3 | 2);
    varint(bytes.size());
    bytes_ += bytes;
    return *this;
  }
  ProtoWriter& real(unsigned field, float value) {
    varint(field << 3 | 5);
    char raw[4];
    std::memcpy(raw, &value, 4);
    bytes_.append(raw, 4);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

struct SmallPiece {
  std::string text;
  float score;
  int type;  // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
};

/// unknown 0, <s> 1, </s> 2, user-defined 3 and 4, bytes 5 to 260, then normal pieces; scores fall with the id.
inline std::vector<SmallPiece> small_pieces() {
  std::vector<SmallPiece> pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}, {"<image>", 0, 4}, {"<p>", 0, 4}};
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte)
    pieces.push_back({std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, 6});
  float score = 0;
  for (const char* text : {"he", "ll", "hell", "hello", "▁w", "or", "▁wor", "▁▁", "aa", "aaaa", "é", "▁", "a",
                           "d",  "e",  "h",    "l",     "o",  "r",  "w",    "<",  ">",  "i",    "m", "g"}) {
    pieces.push_back({text, score, 1});
    score -= 1;
  }
  return pieces;
}

struct SmallModelOptions {
  uint64_t model_type = 2;  // BPE
  bool byte_fallback = true;
  bool dummy_prefix = false;
  bool remove_spaces = false;
  bool escape_spaces = true;
  std::string characters_map;
};

inline std::string small_sentencepiece(const std::vector<SmallPiece>& pieces, const SmallModelOptions& options = {}) {
  ProtoWriter model;
  for (const SmallPiece& piece : pieces) {
    const auto type = static_cast<uint64_t>(piece.type);
    model.text(1, ProtoWriter().text(1, piece.text).real(2, piece.score).integer(3, type).bytes());
  }
  ProtoWriter trainer;
  trainer.integer(3, options.model_type).integer(35, options.byte_fallback ? 1 : 0);
  ProtoWriter normalizer;
  normalizer.text(1, "identity").text(2, options.characters_map).integer(3, options.dummy_prefix ? 1 : 0);
  normalizer.integer(4, options.remove_spaces ? 1 : 0).integer(5, options.escape_spaces ? 1 : 0);
  model.text(2, trainer.bytes()).text(3, normalizer.bytes());
  return model.bytes();
}

}  // namespace minicpm::testing
