// The byte-level BPE vocabulary of pico. Its merges grow from a leading blank only (" w", " wh", " wha", " what"), so a
// listed word is one token after a blank, while an answer that begins without one is spelled: one token for each letter
// that is read from the picture.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/vocabulary.h"

namespace minicpm::pico {

/// Words of a list: separated by blanks and line ends; lines that start with # are comments. Repeated ones are dropped.
/// Throws Error bad_file naming `source` for a word with other characters than ASCII letters.
std::vector<std::string> parse_words(std::string_view text, const std::string& source);

/// 256 bytes, "\n\n", the prefixes of " word" for each word, <unk>, the added tokens of MiniCPM-V 4.5 (with `sound`
/// those of MiniCPM-o 2.6's sound and speech in place of the first reserved ones), and the two roles "user" and
/// "assistant" as added tokens that are not special: official training code looks up the id of "assistant", and merges
/// for them ("us", "as") would join letters inside ordinary words.
Vocabulary make_vocabulary(std::span<const std::string> words, bool sound = false);

/// special_tokens_map.json of the family.
std::string special_tokens_map_json(const Vocabulary& vocabulary);

}  // namespace minicpm::pico
