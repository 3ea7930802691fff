// Expressions to be calculated, mostly with the steps written down first.
#include <fmt/format.h>

#include <algorithm>

#include "pico/scene.h"
#include "pico/text_picture.h"

namespace minicpm::pico {
namespace {

struct Exercise {
  int a, b;
  char sign;  // '+', '-' or 'x'
  int result;
};

Exercise choose_exercise(Random& random, float difficulty) {
  const float how = random.uniform();
  const int most = difficulty < 0.34f ? 20 : 99;
  if (how < 0.45f) {
    const int a = random.between(1, most), b = random.between(1, random.chance(0.5f) ? 9 : most);
    return random.chance(0.5f) ? Exercise{a, b, '+', a + b} : Exercise{b, a, '+', a + b};
  }
  if (how < 0.8f) {
    const int a = random.between(2, most), b = random.between(1, random.chance(0.5f) ? std::min(a, 9) : a);
    return {a, b, '-', a - b};
  }
  const int a = random.between(2, 9), b = random.between(2, 9);
  return {a, b, 'x', a * b};
}

/// One step a line; units first when they carry or borrow.
std::string steps(const Exercise& exercise) {
  const auto [a, b, sign, result] = exercise;
  std::string text;
  if (sign == '+' && a % 10 + b % 10 > 9 && (a > 9 || b > 9)) {
    text += fmt::format("{} + {} = {}\n", a % 10, b % 10, a % 10 + b % 10);
    text += fmt::format("{} + {} + {} = {}\n", a / 10 * 10, b / 10 * 10, a % 10 + b % 10, result);
  } else if (sign == '-' && a % 10 < b % 10) {
    text += fmt::format("{} - {} = {}\n", a % 10 + 10, b % 10, a % 10 + 10 - b % 10);
    text += fmt::format("{} - {} + {} = {}\n", a / 10 * 10 - 10, b / 10 * 10, a % 10 + 10 - b % 10, result);
  }
  return text + fmt::format("{} {} {} = {}", a, sign, b, result);
}

}  // namespace

Scene draw_arithmetic(Random& random, const TaskInput& input) {
  const Exercise exercise = choose_exercise(random, input.difficulty());
  const std::string sign = exercise.sign == 'x' && random.chance(0.5f) ? "\u00d7" : std::string(1, exercise.sign);
  const std::string space = random.chance(0.5f) ? " " : "";
  std::string text = fmt::format("{}{}{}{}{}", exercise.a, space, sign, space, exercise.b);
  const float how = random.uniform();
  if (how < 0.3f) text += space + "=";
  if (how < 0.15f) text += space + "?";
  Scene scene;
  scene.pictures.push_back(draw_text_picture(random, input, text, {0.95f - 0.4f * input.difficulty(), 1.0f}));
  const std::string question = say(random, {"What is the result?", "Calculate.", "Solve it."});
  const std::string result = std::to_string(exercise.result);
  const bool thinking = random.chance(0.7f);
  const std::string reasoned = fmt::format("<think>\n{}\n</think>\n\n{}", steps(exercise), result);
  scene.turns.push_back({question, thinking ? reasoned : result});
  if (input.many_turns()) {
    scene.turns.push_back({question, thinking ? result : reasoned});
    scene.turns.push_back({say(random, {"Read the text.", "What does it say?"}), text});
  }
  return scene;
}

}  // namespace minicpm::pico
