#include "pico-o/phrases.h"

#include <algorithm>
#include <set>
#include <vector>

namespace minicpm::pico_o {
namespace {

constexpr std::string_view kNumbers[] = {"zero", "one",   "two",   "three", "four", "five",
                                         "six",  "seven", "eight", "nine",  "ten"};
constexpr std::string_view kVerbs[] = {"open", "close", "find", "take", "move", "show", "draw", "get", "keep", "watch"};
constexpr std::string_view kColors[] = {"red",  "orange", "yellow", "green", "blue", "purple",
                                        "pink", "brown",  "black",  "white", "gray", "cyan"};
constexpr std::string_view kLooks[] = {"small", "big", "old", "new", "long", "dark"};
constexpr std::string_view kThings[] = {"door", "window", "box", "table", "chair", "book", "map",  "picture",
                                        "tree", "house",  "car", "bird",  "dog",   "cat",  "fish", "garden"};
constexpr std::string_view kShapes[] = {"circle", "square", "triangle", "diamond", "star", "cross", "heart", "ring"};
constexpr std::string_view kPlaces[] = {"on the left",     "on the right",  "near the door",
                                        "under the table", "in the garden", "by the river",
                                        "in the morning",  "at night",      "in the house"};
constexpr std::string_view kShort[] = {"turn left",  "turn right",  "go up",      "go down",
                                       "stop now",   "start again", "come here",  "say hello",
                                       "read again", "thank you",   "yes please", "no thank you"};

void append(std::string& text, std::string_view word) {
  if (!text.empty()) text += ' ';
  text += word;
}

std::vector<std::string_view> all_words() {
  std::set<std::string_view> found = {"what", "is", "plus", "minus", "times", "which", "color", "the", "to"};
  const auto add = [&](std::string_view text) {
    for (size_t end; !text.empty(); text.remove_prefix(std::min(text.size(), end + 1))) {
      end = std::min(text.find(' '), text.size());
      found.insert(text.substr(0, end));
    }
  };
  for (const auto& list : {std::span<const std::string_view>(kNumbers), std::span<const std::string_view>(kVerbs),
                           std::span<const std::string_view>(kColors), std::span<const std::string_view>(kLooks),
                           std::span<const std::string_view>(kThings), std::span<const std::string_view>(kShapes),
                           std::span<const std::string_view>(kPlaces), std::span<const std::string_view>(kShort)}) {
    for (const std::string_view text : list)
      add(text);
  }
  return {found.begin(), found.end()};
}

}  // namespace

Phrase digits(Random& random) {
  Phrase phrase;
  for (int count = random.between(1, 7); count > 0; --count)
    append(phrase.text, kNumbers[random.below(10)]);
  return phrase;
}

Phrase command(Random& random) {
  if (random.chance(0.15f)) return {std::string(random.pick(kShort)), ""};
  Phrase phrase{std::string(random.pick(kVerbs)), ""};
  append(phrase.text, "the");
  if (random.chance(0.3f)) append(phrase.text, random.pick(kLooks));
  if (random.chance(0.6f)) append(phrase.text, random.pick(kColors));
  append(phrase.text, random.chance(0.3f) ? random.pick(kShapes) : random.pick(kThings));
  if (random.chance(0.35f)) append(phrase.text, random.pick(kPlaces));
  return phrase;
}

Phrase sum(Random& random) {
  int a = random.between(0, 10), b = random.between(0, 10);
  const int kind = random.below(3);
  if (kind == 1 && a < b) std::swap(a, b);
  constexpr std::string_view kSigns[] = {"plus", "minus", "times"};
  Phrase phrase{"what is", ""};
  append(phrase.text, kNumbers[a]);
  append(phrase.text, kSigns[kind]);
  append(phrase.text, kNumbers[b]);
  phrase.answer = std::to_string(kind == 0 ? a + b : kind == 1 ? a - b : a * b);
  return phrase;
}

Phrase color_question(Random& random, std::string_view color, std::string_view shape) {
  Phrase phrase{random.chance(0.5f) ? "which color is the" : "what color is the", std::string(color)};
  append(phrase.text, shape.empty() ? random.pick(kShapes) : shape);
  return phrase;
}

std::span<const std::string_view> words() {
  static const std::vector<std::string_view> all = all_words();
  return all;
}

}  // namespace minicpm::pico_o
