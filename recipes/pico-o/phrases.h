// What is said, and what is to be answered: sentences over a small vocabulary, every word of which is one token of the
// model after a blank.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pico/random.h"

namespace minicpm::pico_o {

using pico::Random;

struct Phrase {
  std::string text;    // as it is said, words with single blanks between them
  std::string answer;  // to a question; empty: there is none
};

/// One to seven digits by their names.
Phrase digits(Random& random);
/// "open the red door", "turn left".
Phrase command(Random& random);
/// "what is three plus four": numbers from zero to ten, the answer in digits.
Phrase sum(Random& random);
/// "which color is the circle" about a picture of this shape in this color; without a shape about any.
Phrase color_question(Random& random, std::string_view color = {}, std::string_view shape = {});

/// All words that may be said.
std::span<const std::string_view> words();

}  // namespace minicpm::pico_o
