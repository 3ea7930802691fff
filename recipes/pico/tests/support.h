// What the tests of the generator share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "pico/generator.h"
#include "pico/labels.h"
#include "pico/random.h"
#include "pico/text_draw.h"

namespace minicpm::pico {

inline constexpr uint64_t kSeed = 20261123;

struct Turn {
  std::string question, answer;
};

inline std::string text_of(const Message& message) {
  std::string text;
  for (const ContentPart& part : message.content)
    text += part.text;
  return text;
}

inline std::vector<Turn> turns_of(const TrainingSample& sample) {
  std::vector<Turn> turns;
  for (size_t i = 0; i + 1 < sample.messages.size(); i += 2) {
    turns.push_back({text_of(sample.messages[i]), text_of(sample.messages[i + 1])});
  }
  return turns;
}

inline std::vector<const Image*> images_of(const TrainingSample& sample) {
  std::vector<const Image*> images;
  for (const Message& message : sample.messages) {
    for (const ContentPart& part : message.content) {
      for (const auto& image : part.images)
        images.push_back(image.get());
    }
  }
  return images;
}

/// The labelled characters in the order of the boxes.
inline std::string characters_of(const std::vector<LabelBox>& boxes) {
  std::string text;
  for (const LabelBox& box : boxes) {
    if (box.label <= static_cast<int>(kLabelledCharacters.size())) text += dense_class_name(box.label);
  }
  return text;
}

inline std::string without_space(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' && c != '\n') out += c;
  }
  return out;
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Tests that draw text are skipped on machines without fonts.
class Fonts : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      Random random(kSeed);
      for (int i = 0; i < 8; ++i)
        choose_face(random, Split::kTest, 1);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  static DrawOptions with_boxes() {
    DrawOptions options;
    options.boxes = true;
    return options;
  }
};

}  // namespace minicpm::pico
