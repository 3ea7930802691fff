// Words and numbers to be read.
#pragma once

#include <string>

#include "pico/random.h"

namespace minicpm::pico {

/// Half uniformly random letters, a third pronounceable, the rest common English; lower case in 55 %, Title in 20 %,
/// UPPER in 25 %. At least one letter tells the case (c and C look the same).
std::string make_word(Random& random, int min_letters, int max_letters);
/// Random digits; sometimes a decimal point, a colon, a sign, or a unit.
std::string make_number(Random& random, int min_digits, int max_digits);
/// Words joined by single spaces, at most `max_characters` long (at least one word), now and then with a mark at the
/// end and numbers among them.
std::string make_text(Random& random, int max_characters, int min_letters, int max_letters);

}  // namespace minicpm::pico
