// A small byte-level BPE vocabulary of our own with the added tokens of MiniCPM-V 4.5, as tokenizer files and as GGUF
// metadata.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_level.h"
#include "text/tokenizer_loader.h"

namespace minicpm {

/// Pairs that byte-level BPE joins first: enough that merging is exercised, few enough that text stays short.
inline constexpr std::string_view kMerges[] = {"Ġ t", "h e",   "i n",  "Ġ a",  "e r", "o n", "Ġt he", "r e", "a t",
                                               "e n", "o r",   "e s",  "i s",  "Ġ s", "Ġ w", "n d",   "i t", "Ġ o",
                                               "Ġ c", "Ġa nd", "in g", "Ġo f", "a l", "Ġ p", "Ġ Ġ"};

/// Added tokens of MiniCPM-V 4.5 in the order of their ids; those from kFirstPlain on, kNumPlain of them, are not
/// flagged special.
inline constexpr std::string_view kAddedTokens[] = {"<|endoftext|>",
                                                    "<|im_start|>",
                                                    "<|im_end|>",
                                                    "<|object_ref_start|>",
                                                    "<|object_ref_end|>",
                                                    "<|box_start|>",
                                                    "<|box_end|>",
                                                    "<|quad_start|>",
                                                    "<|quad_end|>",
                                                    "<|vision_start|>",
                                                    "<|vision_end|>",
                                                    "<|vision_pad|>",
                                                    "<|image_pad|>",
                                                    "<|video_pad|>",
                                                    "<tool_call>",
                                                    "</tool_call>",
                                                    "<|fim_prefix|>",
                                                    "<|fim_middle|>",
                                                    "<|fim_suffix|>",
                                                    "<|fim_pad|>",
                                                    "<|repo_name|>",
                                                    "<|file_sep|>",
                                                    "<tool_response>",
                                                    "</tool_response>",
                                                    "<think>",
                                                    "</think>",
                                                    "<image>",
                                                    "</image>",
                                                    "<ref>",
                                                    "</ref>",
                                                    "<box>",
                                                    "</box>",
                                                    "<quad>",
                                                    "</quad>",
                                                    "<point>",
                                                    "</point>",
                                                    "<slice>",
                                                    "</slice>",
                                                    "<image_id>",
                                                    "</image_id>",
                                                    "<unit>",
                                                    "</unit>"};
inline constexpr size_t kFirstPlain = 14, kNumPlain = 12;
inline constexpr int kReservedTokens = 63;  // <|reserved_0|> ...
/// Tokens of models that hear and speak, in place of the first reserved ones.
inline constexpr std::string_view kSoundTokens[] = {"<|audio_start|>", "<|audio|>",   "<|audio_end|>", "<|spk_bos|>",
                                                    "<|spk|>",         "<|spk_eos|>", "<|tts_bos|>",   "<|tts_eos|>"};

struct Vocabulary {
  std::vector<std::string> tokens;  // all, by id
  std::vector<AddedToken> added;    // by id
  std::vector<std::string> merges;
  size_t fillers_begin = 0, fillers_end = 0;
  int32_t id(std::string_view text) const {
    return static_cast<int32_t>(std::ranges::find(tokens, text) - tokens.begin());
  }
};

/// 256 bytes, merges, <unk>, fillers, added tokens: as many as the embedding has rows.
inline Vocabulary make_vocabulary(int64_t size, bool sound = false) {
  Vocabulary out;
  for (int byte = 0; byte < 256; ++byte)
    out.tokens.emplace_back(byte_level_character(static_cast<uint8_t>(byte)));
  for (std::string_view merge : kMerges) {
    out.merges.emplace_back(merge);
    std::string joined(merge);
    joined.erase(joined.find(' '), 1);
    out.tokens.push_back(std::move(joined));
  }
  out.added.push_back({"<unk>", static_cast<int32_t>(out.tokens.size()), true});
  out.tokens.emplace_back("<unk>");
  const auto added_count = static_cast<int64_t>(std::size(kAddedTokens)) + kReservedTokens;
  const int64_t base = size - added_count;
  MINICPM_CHECK(base >= static_cast<int64_t>(out.tokens.size()));
  out.fillers_begin = out.tokens.size();
  for (int64_t i = 0; static_cast<int64_t>(out.tokens.size()) < base; ++i)
    out.tokens.push_back(fmt::format("[filler{}]", i));
  out.fillers_end = out.tokens.size();
  const auto add = [&](std::string text, bool special) {
    out.added.push_back({text, static_cast<int32_t>(out.tokens.size()), special});
    out.tokens.push_back(std::move(text));
  };
  for (size_t i = 0; i < std::size(kAddedTokens); ++i)
    add(std::string(kAddedTokens[i]), i < kFirstPlain || i >= kFirstPlain + kNumPlain);
  for (int i = 0; i < kReservedTokens; ++i) {
    const bool named = sound && i < static_cast<int>(std::size(kSoundTokens));
    add(named ? std::string(kSoundTokens[i]) : fmt::format("<|reserved_{}|>", i), true);
  }
  return out;
}

inline Json added_token_json(const AddedToken& token) {
  return {{"content", token.text}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},       {"normalized", false},  {"special", token.special}};
}

inline std::string tokenizer_json(const Vocabulary& vocabulary) {
  // The split rule of the Qwen2 vocabularies, a fact of the format.
  constexpr std::string_view kPattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kPattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  Json added = Json::array();
  for (const AddedToken& token : vocabulary.added) {
    Json entry = {{"id", token.id}};
    entry.update(added_token_json(token));
    added.push_back(entry);
  }
  Json head = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", added},
               {"normalizer", {{"type", "NFC"}}},
               {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
               {"post_processor", byte_level},
               {"decoder", byte_level}};
  std::string text = head.dump();
  text.pop_back();  // the closing brace; `model` follows as text, because a document of 150,000 keys is slow to build
  text += R"(,"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"",)"
          R"("end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{)";
  const size_t base = vocabulary.fillers_end;
  for (size_t id = 0; id < base; ++id)
    fmt::format_to(std::back_inserter(text), "{}{}:{}", id == 0 ? "" : ",", Json(vocabulary.tokens[id]).dump(), id);
  text += R"(},"merges":)" + Json(vocabulary.merges).dump() + "}}\n";
  return text;
}

inline std::string tokenizer_config_json(const Vocabulary& vocabulary, int64_t positions) {
  Json decoder = Json::object();
  Json special = Json::array();
  for (const AddedToken& token : vocabulary.added) {
    decoder[std::to_string(token.id)] = added_token_json(token);
    if (token.special) special.push_back(token.text);
  }
  const Json config = {{"add_bos_token", false},
                       {"add_prefix_space", false},
                       {"added_tokens_decoder", decoder},
                       {"additional_special_tokens", special},
                       {"bos_token", "<|im_start|>"},
                       {"eos_token", "<|im_end|>"},
                       {"pad_token", "<|endoftext|>"},
                       {"unk_token", "<unk>"},
                       {"errors", "replace"},
                       {"model_max_length", positions},
                       {"split_special_tokens", false},
                       {"tokenizer_class", "Qwen2Tokenizer"}};
  return config.dump(2) + "\n";
}

inline GgufVocabulary gguf_vocabulary(const Vocabulary& vocabulary) {
  constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;
  GgufVocabulary out;
  out.model = "gpt2";
  out.pre = "qwen2";
  out.tokens = vocabulary.tokens;
  out.merges = vocabulary.merges;
  out.types.assign(out.tokens.size(), kNormal);
  std::fill(out.types.begin() + static_cast<std::ptrdiff_t>(vocabulary.fillers_begin),
            out.types.begin() + static_cast<std::ptrdiff_t>(vocabulary.fillers_end), kUnused);
  for (const AddedToken& token : vocabulary.added)
    out.types[static_cast<size_t>(token.id)] = token.special ? kControl : kUserDefined;
  out.bos = vocabulary.id("<|im_start|>");
  out.eos = vocabulary.id("<|im_end|>");
  out.pad = vocabulary.id("<|endoftext|>");
  return out;
}

}  // namespace minicpm
