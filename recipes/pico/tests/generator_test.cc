#include "pico/generator.h"

#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "support.h"

namespace minicpm::pico {
namespace {

/// Everything that a sample holds, as one number.
uint64_t hash_of(const TrainingSample& sample) {
  uint64_t hash = mix(0, sample.origin);
  for (const Message& message : sample.messages) {
    hash = mix(hash, message.role);
    for (const ContentPart& part : message.content) {
      hash = mix(hash, part.text);
      for (const int32_t id : part.frame_ids)
        hash = mix(hash, static_cast<uint64_t>(id));
      for (const auto& image : part.images) {
        hash = mix(hash, static_cast<uint64_t>(image->width));
        for (const uint8_t byte : image->rgb)
          hash = mix(hash, static_cast<uint64_t>(byte));
      }
    }
  }
  for (const auto& boxes : sample.boxes) {
    for (const LabelBox& box : boxes) {
      hash = mix(hash, static_cast<uint64_t>(box.label));
      hash = mix(hash, static_cast<uint64_t>(box.left * 16));
      hash = mix(hash, static_cast<uint64_t>(box.bottom * 16));
    }
  }
  return hash;
}

using Generator = Fonts;

TEST_F(Generator, SameArgumentsGiveTheSameSample) {
  for (const std::string_view task : tasks()) {
    const uint64_t first = hash_of(draw(task, Split::kTrain, kSeed, 5, with_boxes()));
    draw(task, Split::kTest, kSeed, 6, with_boxes());  // what was drawn between must not matter
    EXPECT_EQ(hash_of(draw(task, Split::kTrain, kSeed, 5, with_boxes())), first) << task;
    EXPECT_NE(hash_of(draw(task, Split::kTrain, kSeed, 6, with_boxes())), first) << task;
    EXPECT_NE(hash_of(draw(task, Split::kTrain, kSeed + 1, 5, with_boxes())), first) << task;
    EXPECT_NE(hash_of(draw(task, Split::kTest, kSeed, 5, with_boxes())), first) << task;
  }
}

// Threads that end while others draw: their fonts must not vanish under the others' hands.
TEST_F(Generator, ThreadsMayComeAndGo) {
  for (int round = 0; round < 6; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int64_t i = 0; i < 10 * (t + 1); ++i)
          draw("letters", Split::kTest, kSeed, 100 * round + i, with_boxes());
      });
    }
    for (std::thread& thread : threads)
      thread.join();
  }
}

TEST_F(Generator, ThreadsAgree) {
  constexpr int64_t kSamples = 8;
  const auto draw_all = [](std::vector<uint64_t>& hashes) {
    for (const std::string_view task : tasks()) {
      for (int64_t i = 0; i < kSamples; ++i)
        hashes.push_back(hash_of(draw(task, Split::kTest, kSeed, i, with_boxes())));
    }
  };
  std::vector<uint64_t> here, one, two;
  draw_all(here);
  std::thread first(draw_all, std::ref(one)), second(draw_all, std::ref(two));
  first.join();
  second.join();
  EXPECT_EQ(one, here);
  EXPECT_EQ(two, here);
}

TEST_F(Generator, MessagesAlternateAndEndWithAnAnswer) {
  for (const std::string_view task : tasks()) {
    for (int64_t i = 0; i < 20; ++i) {
      const TrainingSample sample = draw(task, Split::kTrain, kSeed, i, {});
      ASSERT_GE(sample.messages.size(), 2u);
      ASSERT_EQ(sample.messages.size() % 2, 0u);
      EXPECT_LE(sample.messages.size(), 6u);
      EXPECT_TRUE(sample.boxes.empty());
      for (size_t m = 0; m < sample.messages.size(); ++m) {
        EXPECT_EQ(sample.messages[m].role, m % 2 == 0 ? "user" : "assistant");
        EXPECT_FALSE(text_of(sample.messages[m]).empty()) << task << " " << i;
      }
    }
  }
}

TEST_F(Generator, BoxesLieInThePictures) {
  for (const std::string_view task : tasks()) {
    for (int64_t i = 0; i < 60; ++i) {
      DrawOptions options = with_boxes();
      options.large = 0.2f;
      options.difficulty = static_cast<float>(i % 3) * 0.5f;
      const TrainingSample sample = draw(task, Split::kTrain, kSeed, i, options);
      const auto images = images_of(sample);
      ASSERT_EQ(sample.boxes.size(), images.size());
      for (size_t p = 0; p < images.size(); ++p) {
        for (const LabelBox& box : sample.boxes[p]) {
          EXPECT_TRUE(box.label > 0 && box.label < dense_classes());
          EXPECT_TRUE(0 <= box.left && box.left < box.right && box.right <= static_cast<float>(images[p]->width) &&
                      0 <= box.top && box.top < box.bottom && box.bottom <= static_cast<float>(images[p]->height))
              << task << " " << i << ": " << box.left << " " << box.top << " " << box.right << " " << box.bottom;
        }
      }
    }
  }
}

TEST_F(Generator, OnlyPagesAndLargePicturesAreCut) {
  constexpr int kSlicePixels = 168 * 168;
  for (const std::string_view task : tasks()) {
    for (int64_t i = 0; i < 20; ++i) {
      for (const Image* image : images_of(draw(task, Split::kTrain, kSeed, i, {}))) {
        EXPECT_EQ(image->rgb.size(), static_cast<size_t>(image->width) * image->height * 3);
        EXPECT_EQ(image->width * image->height > kSlicePixels, task == "page") << task << " " << i;
      }
    }
  }
  DrawOptions large;
  large.large = 1;
  const TrainingSample sample = draw("shape_one", Split::kTrain, kSeed, 0, large);
  EXPECT_GT(images_of(sample).at(0)->rgb.size(), static_cast<size_t>(3 * kSlicePixels));
}

TEST_F(Generator, EasyTextIsDarkOnWhite) {
  DrawOptions options = with_boxes();
  options.difficulty = 0;
  for (int64_t i = 0; i < 20; ++i) {
    const TrainingSample sample = draw("word", Split::kTrain, kSeed, i, options);
    const Image& image = *images_of(sample).at(0);
    int darkest = 255, light = 0;
    for (const uint8_t value : image.rgb) {
      darkest = std::min<int>(darkest, value);
      light += value > 240 ? 1 : 0;
    }
    EXPECT_LT(darkest, 90);
    EXPECT_GT(light, static_cast<int>(image.rgb.size()) / 2);
  }
}

TEST_F(Generator, HeldOutFontsAreOfTheTestSplitAlone) {
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  Random random(kSeed);
  std::set<int> train, test;
  for (int i = 0; i < 4000; ++i) {
    const float difficulty = static_cast<float>(i % 2);
    train.insert(choose_face(random, Split::kTrain, difficulty).family);
    test.insert(choose_face(random, Split::kTest, difficulty).family);
  }
  int held_out = 0;
  for (const int family : train)
    EXPECT_FALSE(font_families()[static_cast<size_t>(family)].held_out);
  for (const int family : test)
    held_out += font_families()[static_cast<size_t>(family)].held_out ? 1 : 0;
  EXPECT_GE(held_out, 1);
}

TEST_F(Generator, QuestionsHaveASmallVocabulary) {
  std::set<std::string> words;
  for (const std::string_view task : tasks()) {
    for (int64_t i = 0; i < 150; ++i) {
      for (const Turn& turn : turns_of(draw(task, Split::kTrain, kSeed, i, {}))) {
        std::istringstream stream(turn.question);
        for (std::string word; stream >> word;)
          words.insert(word.substr(0, word.find_first_of("?.,")));
      }
    }
  }
  EXPECT_LT(words.size(), 250u);
}

TEST(GeneratorErrors, UnknownTasksAndOptions) {
  EXPECT_THROW(draw("poem", Split::kTrain, 0, 0, {}), Error);
  DrawOptions options;
  options.min_letters = 9;
  options.max_letters = 3;
  EXPECT_THROW(draw("word", Split::kTrain, 0, 0, options), Error);
  options = {};
  options.difficulty = 1.5f;
  EXPECT_THROW(draw("word", Split::kTrain, 0, 0, options), Error);
}

TEST(Labels, EveryClassHasItsOwnName) {
  std::set<std::string> names;
  for (int label = 0; label < dense_classes(); ++label)
    names.insert(dense_class_name(label));
  EXPECT_EQ(names.size(), static_cast<size_t>(dense_classes()));
  EXPECT_EQ(dense_class_name(0), "nothing");
  EXPECT_EQ(dense_class_name(character_label('a')), "a");
  EXPECT_EQ(dense_class_name(shape_label(Kind::kRing, kColors - 1)), "cyan ring");
}

}  // namespace
}  // namespace minicpm::pico
