// Speech by eSpeak NG in many voices.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pico/random.h"

namespace minicpm::pico_o {

struct Voice {
  std::string name;  // of eSpeak NG: an accent, "+", a variant
  int rate = 170;    // words a minute
  int pitch = 50;    // 0 to 100
  int range = 50;    // of the pitch, 0 to 100
  int from = 22050;  // samples a second that eSpeak's are taken for: above 22050 the speaker is smaller
};

/// `held_out`: voices that training never hears. Difficulty 0 keeps to middling rates and pitches.
Voice draw_voice(pico::Random& random, bool held_out, float difficulty);

/// Mono samples at 16 kHz, -1 to 1. The same arguments give the same samples. May be called from several threads, which
/// wait for each other. Throws Error not_found when eSpeak NG or the voice is not installed.
std::vector<float> say(std::string_view text, const Voice& voice);

}  // namespace minicpm::pico_o
