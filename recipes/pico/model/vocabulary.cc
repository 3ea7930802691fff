#include "vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "text/byte_level.h"

namespace minicpm::pico {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

void add_added_token(Vocabulary& out, std::string text, bool special) {
  out.added.push_back({text, static_cast<int32_t>(out.tokens.size()), special});
  out.tokens.push_back(std::move(text));
}

}  // namespace

std::vector<std::string> parse_words(std::string_view text, const std::string& source) {
  std::vector<std::string> words;
  std::unordered_set<std::string> seen;
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('#')) continue;
    for (size_t begin = line.find_first_not_of(kBlanks); begin != line.npos; begin = line.find_first_not_of(kBlanks)) {
      line.remove_prefix(begin);
      const std::string word(line.substr(0, line.find_first_of(kBlanks)));
      line.remove_prefix(word.size());
      if (!std::ranges::all_of(word, is_letter)) {
        fail(ErrorCode::kBadFile, "{}: the word \"{}\" holds other characters than a-z and A-Z", source, word);
      }
      if (seen.insert(word).second) words.push_back(word);
    }
  }
  return words;
}

Vocabulary make_vocabulary(std::span<const std::string> words, bool sound) {
  Vocabulary out;
  for (int byte = 0; byte < 256; ++byte)
    out.tokens.emplace_back(byte_level_character(static_cast<uint8_t>(byte)));
  const auto add_merge = [&](const std::string& left, const std::string& right) {
    out.merges.push_back(left + " " + right);
    out.tokens.push_back(left + right);
  };
  const std::string line_end = to_byte_level("\n");
  add_merge(line_end, line_end);
  std::unordered_set<std::string> known;
  for (const std::string& word : words) {
    std::string prefix = to_byte_level(" ");
    for (const char letter : word) {
      if (known.insert(prefix + letter).second) add_merge(prefix, std::string(1, letter));
      prefix += letter;
    }
  }
  add_added_token(out, "<unk>", true);  // in the midst of the family's vocabularies, too
  out.fillers_begin = out.fillers_end = out.tokens.size();
  for (size_t i = 0; i < std::size(kAddedTokens); ++i)
    add_added_token(out, std::string(kAddedTokens[i]), i < kFirstPlain || i >= kFirstPlain + kNumPlain);
  const int sound_tokens = sound ? static_cast<int>(std::size(kSoundTokens)) : 0;
  for (int i = 0; i < kReservedTokens; ++i)
    add_added_token(out, i < sound_tokens ? std::string(kSoundTokens[i]) : fmt::format("<|reserved_{}|>", i), true);
  for (const char* role : {"user", "assistant"})
    add_added_token(out, role, false);
  return out;
}

std::string special_tokens_map_json(const Vocabulary& vocabulary) {
  Json list = Json::array();
  for (const AddedToken& token : vocabulary.added) {
    // The marks of pictures and places, as in the published file.
    const bool mark = !token.text.starts_with("<|") || token.text.starts_with("<|reserved_");
    if (token.special && mark) list.push_back(token.text);
  }
  const Json map = {{"additional_special_tokens", list},
                    {"bos_token", "<|im_start|>"},
                    {"eos_token", "<|im_end|>"},
                    {"pad_token", "<|endoftext|>"},
                    {"unk_token", "<unk>"}};
  return map.dump(2) + "\n";
}

}  // namespace minicpm::pico
