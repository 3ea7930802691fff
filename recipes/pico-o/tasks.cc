#include "pico-o/tasks.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/transcript.h"
#include "pico-o/phrases.h"
#include "pico-o/voice.h"

namespace minicpm::pico_o {
namespace {

constexpr std::string_view kTasks[] = {"digits",  "commands",  "sums",     "colors",
                                       "ask_sum", "ask_color", "read_sum", "read_color"};
constexpr size_t kFrame = 3200;  // sounds have whole fifths of a second: equal lengths are trained on together

/// Noise whose power falls with the frequency as `color` says: 0 white, towards 1 deeper.
void add_noise(Random& random, std::vector<float>& samples, float level, float color) {
  float held = 0;
  for (float& sample : samples) {
    held = color * held + (1 - color) * random.uniform(-1, 1);
    sample += level * held * (1 + 2 * color);
  }
}

std::vector<float> speak(Random& random, std::string_view text, bool held_out, float difficulty) {
  const std::vector<float> voice = say(text, draw_voice(random, held_out, difficulty));
  const auto silence = [&](float most) {
    return static_cast<size_t>(16000 * (0.05f + most * difficulty * random.uniform()));
  };
  std::vector<float> samples(silence(0.4f));
  samples.insert(samples.end(), voice.begin(), voice.end());
  samples.resize((samples.size() + silence(0.3f) + kFrame - 1) / kFrame * kFrame);
  float loudest = 1e-6f;
  for (const float sample : samples)
    loudest = std::max(loudest, std::abs(sample));
  const float gain = std::pow(10.0f, -difficulty * random.uniform(0.0f, 1.0f)) * 0.9f / loudest;
  for (float& sample : samples)
    sample *= gain;
  // 12 to 52 dB below the loudest sample.
  if (random.chance(difficulty)) {
    const float level = std::pow(10.0f, random.uniform(-2.6f, -1.2f)) * gain * loudest;
    add_noise(random, samples, level, random.uniform(0.0f, 0.9f));
  }
  for (float& sample : samples)
    sample = std::clamp(sample, -1.0f, 1.0f);
  return samples;
}

/// A picture of one shape or two in different colors, and what one of them is.
struct Shown {
  std::shared_ptr<const Image> image;
  std::string color, shape;
};

Shown show(Random& random, Split split, uint64_t seed, int64_t index, float difficulty) {
  pico::DrawOptions options;
  options.difficulty = difficulty;
  options.boxes = true;
  const TrainingSample drawn =
      pico::draw(random.chance(0.4f) ? "shape_one" : "shapes_two", split, seed, index, options);
  const auto& boxes = drawn.boxes.at(0);
  const std::string name = pico::dense_class_name(random.pick(boxes).label);  // "red circle"
  const size_t blank = name.find(' ');
  for (const ContentPart& part : drawn.messages.at(0).content) {
    if (part.is_visual()) return {part.images.at(0), name.substr(0, blank), name.substr(blank + 1)};
  }
  fail(ErrorCode::kInternal, "a drawing without a picture");
}

void ask(TrainingSample& sample, std::vector<ContentPart> content, const std::string& answer) {
  sample.messages.push_back({"user", std::move(content)});
  // Words are one token behind a blank; answers are stripped of it when they are given.
  sample.messages.push_back({"assistant", {ContentPart::from_text(answer)}});
}

std::string words_answer(const std::string& text) {
  return " " + text;
}

}  // namespace

std::span<const std::string_view> tasks() {
  return kTasks;
}

TrainingSample make(std::string_view task, Split split, uint64_t seed, int64_t index, const MakeOptions& options) {
  if (std::ranges::find(kTasks, task) == std::end(kTasks)) {
    fail(ErrorCode::kInvalidRequest, "pico-o has no task \"{}\"", task);
  }
  const bool test = split == Split::kTest;
  Random random(pico::mix(pico::mix(pico::mix(seed, test ? "test" : "train"), task), static_cast<uint64_t>(index)));
  const auto voice = [&](const std::string& text) {
    return ContentPart::from_sound(speak(random, text, test && random.chance(0.5f), options.difficulty));
  };
  TrainingSample sample;
  const bool spoken = !task.starts_with("read_");
  const bool color = task.ends_with("_color");  // with a picture
  Shown shown;
  if (color) shown = show(random, split, seed, index, options.difficulty);
  const Phrase phrase = task == "digits"     ? digits(random)
                        : task == "commands" ? command(random)
                        : task == "colors"   ? color_question(random)
                        : color              ? color_question(random, shown.color, shown.shape)
                                             : sum(random);
  std::vector<ContentPart> content;
  if (color) content.push_back(ContentPart::from_image(shown.image));
  if (spoken) sample.spoken = {words_answer(phrase.text)};
  if (task.starts_with("ask_")) {
    content.push_back(voice(phrase.text));
  } else if (!spoken) {
    content.push_back(ContentPart::from_text(phrase.text));
  } else {  // as transcribe_part asks
    content.push_back(ContentPart::from_text(transcript_instruction("en") + "\n"));
    content.push_back(voice(phrase.text));
    ask(sample, std::move(content), words_answer(phrase.text));
    return sample;
  }
  ask(sample, std::move(content), color ? words_answer(phrase.answer) : phrase.answer);
  return sample;
}

}  // namespace minicpm::pico_o
