#include "pico/generator.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "pico/labels.h"
#include "pico/scene.h"

namespace minicpm::pico {
namespace {

struct Task {
  std::string_view name;
  TaskFunction draw;
};

constexpr Task kTasks[] = {
    {"letters", draw_letters},
    {"word", draw_word},
    {"digits", draw_digits},
    {"lines", draw_lines},
    {"shape_one", draw_shape_one},
    {"shapes_two", draw_shapes_two},
    {"count", draw_count},
    {"two_pictures", draw_two_pictures},
    {"video", draw_video},
    {"chart", draw_chart},
    {"arithmetic", draw_arithmetic},
    {"absent", draw_absent},
    {"page", draw_page},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kTasks)> names;
  for (size_t i = 0; i < names.size(); ++i)
    names[i] = kTasks[i].name;
  return names;
}();

ContentPart text_part(std::string text) {
  ContentPart part;
  part.text = std::move(text);
  return part;
}

/// Pictures one by one; frames of a video in packs.
std::vector<ContentPart> media_parts(Scene& scene) {
  constexpr size_t kPack = 3;
  std::vector<ContentPart> parts;
  for (size_t i = 0; i < scene.pictures.size(); ++i) {
    const bool is_frame = !scene.frame_ids.empty();
    if (!is_frame || i % kPack == 0) {
      parts.emplace_back();
      parts.back().kind = is_frame ? ContentPart::Kind::kFrames : ContentPart::Kind::kImage;
      if (is_frame) {  // as videos are asked about
        parts.back().max_slices = 1;
        parts.back().use_image_id = false;
      }
    }
    parts.back().images.push_back(std::make_shared<const Image>(std::move(scene.pictures[i].image)));
    if (is_frame) parts.back().frame_ids.push_back(scene.frame_ids[i]);
  }
  return parts;
}

/// The boxes within the picture: those of thin characters at its edge may reach out.
std::vector<LabelBox> clipped(const Picture& picture) {
  const auto width = static_cast<float>(picture.image.width), height = static_cast<float>(picture.image.height);
  std::vector<LabelBox> boxes = picture.boxes;
  for (LabelBox& box : boxes) {
    box.left = std::clamp(box.left, 0.0f, width);
    box.right = std::clamp(box.right, 0.0f, width);
    box.top = std::clamp(box.top, 0.0f, height);
    box.bottom = std::clamp(box.bottom, 0.0f, height);
  }
  return boxes;
}

}  // namespace

std::string say(Random& random, std::initializer_list<std::string> phrases) {
  return phrases.begin()[random.below(static_cast<int>(phrases.size()))];
}

std::vector<Turn> choose_turns(Random& random, std::vector<Turn> turns, int count) {
  random.shuffle(turns);
  if (static_cast<int>(turns.size()) > count) turns.resize(static_cast<size_t>(count));
  return turns;
}

std::span<const std::string_view> tasks() {
  return kNames;
}

int dense_classes() {
  return kDenseClasses;
}

std::string dense_class_name(int label) {
  const auto characters = static_cast<int>(kLabelledCharacters.size());
  if (label <= 0 || label >= kDenseClasses) return "nothing";
  if (label <= characters) return std::string(1, kLabelledCharacters[static_cast<size_t>(label - 1)]);
  const int shape = label - 1 - characters;
  return std::string(kColorNames[shape % kColors]) + " " + std::string(kKindNames[shape / kColors]);
}

TrainingSample draw(std::string_view task, Split split, uint64_t seed, int64_t index, const DrawOptions& options) {
  const auto found = std::find_if(std::begin(kTasks), std::end(kTasks), [&](const Task& t) { return t.name == task; });
  if (found == std::end(kTasks)) fail(ErrorCode::kInvalidRequest, "pico has no task {}", task);
  if (options.min_letters < 1 || options.max_letters < options.min_letters || options.max_letters > 20 ||
      !(options.difficulty >= 0 && options.difficulty <= 1) || !(options.large >= 0 && options.large <= 1)) {
    fail(ErrorCode::kInvalidRequest,
         "task {}: expected 1 <= min_letters <= max_letters <= 20, a difficulty and a large share from 0 to 1, found "
         "{}, {}, {} and {}",
         task, options.min_letters, options.max_letters, options.difficulty, options.large);
  }
  uint64_t key = mix(mix(uint64_t{0x7069636f}, task), static_cast<uint64_t>(split == Split::kTest));
  Random random(mix(mix(key, seed), static_cast<uint64_t>(index)));
  Scene scene = found->draw(random, {split, options});

  TrainingSample sample;
  sample.origin = fmt::format("{}:{}", task, index);
  if (options.boxes) {
    for (const Picture& picture : scene.pictures)
      sample.boxes.push_back(clipped(picture));
  }
  std::vector<ContentPart> first = media_parts(scene);
  for (Turn& turn : scene.turns) {
    Message user{"user", std::move(first)};
    first.clear();
    user.content.push_back(text_part(std::move(turn.question)));
    sample.messages.push_back(std::move(user));
    sample.messages.push_back({"assistant", {text_part(std::move(turn.answer))}});
  }
  return sample;
}

}  // namespace minicpm::pico
