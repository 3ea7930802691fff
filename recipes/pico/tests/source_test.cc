#include "pico/source.h"

#include <dlfcn.h>

#include <map>
#include <memory>

#include "support.h"

namespace minicpm::pico {
namespace {

using Source = Fonts;

TEST_F(Source, MixesTasksByWeight) {
  const auto source = make_source(R"({"size": 1000, "seed": 3, "mix": [
      {"task": "shape_one", "weight": 3}, {"task": "count", "weight": 1, "difficulty": 0}]})");
  ASSERT_EQ(source->size(), 1000);
  std::map<std::string, int> seen;
  for (int64_t i = 0; i < 400; ++i) {
    const TrainingSample sample = source->sample(i);
    ++seen[sample.origin.substr(0, sample.origin.find(':'))];
    EXPECT_TRUE(sample.boxes.empty());
  }
  EXPECT_NEAR(seen["shape_one"], 300, 40);
  EXPECT_NEAR(seen["count"], 100, 40);
}

TEST_F(Source, DifficultyGrows) {
  const auto source = make_source(R"({"size": 400, "boxes": true, "mix": [
      {"task": "word", "difficulty": 0, "difficulty_end": 1, "min_letters": 2, "max_letters": 5}]})");
  // Dark on white at first; later corners have all colours.
  const auto colored = [&](int64_t first) {
    int count = 0;
    for (int64_t i = first; i < first + 80; ++i) {
      const TrainingSample sample = source->sample(i);
      EXPECT_FALSE(sample.boxes.empty());
      EXPECT_LE(turns_of(sample).at(0).answer.size(), 5u);
      const Image& image = *images_of(sample).at(0);
      count += image.rgb[0] < 200 || image.rgb[1] < 200 || image.rgb[2] < 200 ? 1 : 0;
    }
    return count;
  };
  EXPECT_LT(colored(0), 30);
  EXPECT_GT(colored(320), 40);
}

TEST(SourceOptions, ErrorsNameTheKey) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "JSON"},
      {"[]", "object"},
      {"{}", "mix"},
      {R"({"mix": []})", "mix"},
      {R"({"mix": [{"task": "poem"}]})", "poem"},
      {R"({"mix": [{"task": "word", "wieght": 2}]})", "wieght"},
      {R"({"mix": [{"task": "word", "weight": 0}]})", "weight"},
      {R"({"mix": [{"task": "word", "difficulty": 2}]})", "difficulty"},
      {R"({"mix": [{"task": "word", "min_letters": 7, "max_letters": 3}]})", "min_letters"},
      {R"({"mix": [{"task": "word", "large": -1}]})", "large"},
      {R"({"split": "other", "mix": [{"task": "word"}]})", "split"},
      {R"({"size": 0, "mix": [{"task": "word"}]})", "size"},
      {R"({"size": "many", "mix": [{"task": "word"}]})", "size"},
  };
  for (const auto& [options, word] : cases) {
    try {
      make_source(options);
      ADD_FAILURE() << options;
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), word)) << options << ": " << error.what();
    }
  }
}

TEST_F(Source, PluginIsLoaded) {
  void* library = dlopen(MINICPM_BINARY_DIR "/lib/libpico_data.so", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto make = reinterpret_cast<SampleSource* (*)(const char*)>(dlsym(library, "minicpm_sample_source"));
  const auto error = reinterpret_cast<const char* (*)()>(dlsym(library, "minicpm_sample_source_error"));
  ASSERT_TRUE(make != nullptr && error != nullptr);
  EXPECT_EQ(make(R"({"mix": [{"task": "poem"}]})"), nullptr);
  EXPECT_TRUE(contains(error(), "poem")) << error();
  EXPECT_EQ(make(nullptr), nullptr);

  const char* options = R"({"split": "test", "seed": 7, "mix": [{"task": "word"}]})";
  const std::unique_ptr<SampleSource> loaded(make(options));
  ASSERT_NE(loaded, nullptr) << error();
  const TrainingSample sample = loaded->sample(11), same = make_source(options)->sample(11);
  EXPECT_EQ(turns_of(sample).at(0).answer, turns_of(same).at(0).answer);
  EXPECT_EQ(images_of(sample).at(0)->rgb, images_of(same).at(0)->rgb);
  // The library stays: threads keep its fonts until they end.
}

}  // namespace
}  // namespace minicpm::pico
