// `run` and the chat with videos.
#include "base/json.h"
#include "e2e/support.h"
#include "support/video_writer.h"

namespace minicpm::e2e {
namespace {

using minicpm::testing::make_video;
using ::testing::HasSubstr;

class VideoTest : public ModelTest {
 protected:
  /// Ten frames a second, small and lossless.
  std::string write_video(const std::string& name, int frames) const {
    return write(name, make_video({.width = 64, .height = 48, .fps = 10, .frames = frames}));
  }
  Json run(const std::string& model, std::vector<std::string> arguments, const Setting& setting = {}) {
    std::vector<std::string> words = {"run", model, "--json", "-n", "6", "--greedy", "-p", "What happens?"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = minicpm(words, setting);
    expect_ok(outcome);
    return outcome.exit_code == 0 ? parse_json(outcome.out, "the output") : Json();
  }
};

TEST_F(VideoTest, FramesAreCountedAndPacked) {
  const std::string video = write_video("clip.mkv", 40);
  const Json plain = run(hf_, {"--video", video});
  EXPECT_FALSE(plain.at("tokens").empty());
  EXPECT_EQ(plain.at("usage").at("frames"), 12) << "three a second";
  EXPECT_EQ(plain.at("usage").at("images"), 0);
  EXPECT_EQ(plain.at("usage").at("slices"), 12);
  const int tokens = plain.at("usage").at("image_tokens").get<int>();
  EXPECT_EQ(tokens % 12, 0);

  const Json packed = run(hf_, {"--video", video, "--pack", "6"});
  EXPECT_EQ(packed.at("usage").at("frames"), 12);
  EXPECT_EQ(packed.at("usage").at("image_tokens").get<int>(), tokens / 6);
  EXPECT_EQ(run(hf_, {"--video", video, "--fps", "1"}).at("usage").at("frames"), 4);
  const Json most = run(hf_, {"--video", video, "--max-frames", "2"});
  EXPECT_EQ(most.at("usage").at("frames"), 6) << "two packs of three";
  EXPECT_EQ(most.at("usage").at("image_tokens").get<int>(), tokens / 6);
}

TEST_F(VideoTest, BothLayoutsAndOlderVersions) {
  const std::string video = write_video("clip.mkv", 40);
  EXPECT_EQ(run(gguf_, {"--video", video}).at("usage").at("frames"), 12);
  const Json old = run(other_, {"--video", video});
  EXPECT_EQ(old.at("usage").at("frames"), 4) << "one a second";
  EXPECT_EQ(run(other_, {"--video", video, "--fps", "5", "--max-frames", "8"}).at("usage").at("frames"), 8);
  expect_error(minicpm({"run", other_, "-p", "x", "--video", video, "--pack", "2"}), 2, "one by one");
}

TEST_F(VideoTest, TheOrderOfTheFramesIsSeen) {
  const std::string video = write_video("clip.mkv", 40), picture = write_picture("p.bmp", 64, 48);
  const Json first = run(hf_, {"--image", picture, "--video", video});
  const Json second = run(hf_, {"--video", video, "--image", picture});
  EXPECT_EQ(first.at("usage").at("images"), 1);
  EXPECT_EQ(first.at("usage").at("frames"), 12);
  EXPECT_EQ(first.at("usage").at("prompt_tokens"), second.at("usage").at("prompt_tokens"));
  EXPECT_NE(first.at("tokens"), second.at("tokens"));
}

// The settings of a video are its own: a picture beside it keeps its slices.
TEST_F(VideoTest, APictureBesideAVideoKeepsItsSlices) {
  const std::string video = write_video("clip.mkv", 20), picture = write_picture("large.bmp", 600, 400);
  const int alone = run(hf_, {"--image", picture}).at("usage").at("slices").get<int>();
  EXPECT_GT(alone, 1);
  EXPECT_EQ(run(hf_, {"--image", picture, "--video", video}).at("usage").at("slices"), alone + 6);
}

TEST_F(VideoTest, FromStandardInput) {
  const std::string video = write_video("clip.mkv", 20);
  EXPECT_EQ(run(hf_, {"--video", "-"}, {.input = read_all(video)}).at("tokens"),
            run(hf_, {"--video", video}).at("tokens"));
  EXPECT_EQ(run(hf_, {"--video",
                      write("a.gif",
                            make_video({.format = "gif", .codec = "gif", .pixels = AV_PIX_FMT_GRAY8, .frames = 20}))})
                .at("usage")
                .at("frames"),
            6);
}

TEST_F(VideoTest, WhatCannotBeShownIsOneSentence) {
  const auto ask = [&](const std::string& file) { return minicpm({"run", hf_, "-p", "x", "--video", file}); };
  expect_error(ask(path("absent.mp4")), 3, "absent.mp4");
  expect_error(ask(write("text.mp4", "this is no video")), 4, "text.mp4: is not a video");
  expect_error(ask(write("empty.mp4", "")), 4, "empty.mp4: is empty");
  const std::string whole = make_video({.format = "mp4", .codec = "mpeg4", .pixels = AV_PIX_FMT_YUV420P});
  expect_error(ask(write("cut.mp4", whole.substr(0, whole.size() / 2))), 4, "cut.mp4");
  const std::string video = write_video("clip.mkv", 20);
  expect_error(minicpm({"run", hf_, "-p", "x", "--video", video, "--pack", "7"}), 2, "--pack");
  expect_error(minicpm({"run", hf_, "-p", "x", "--video", video, "--fps", "0"}), 2, "above 0");
  expect_error(minicpm({"run", hf_, "-p", "x", "--video", video, "--max-frames", "0"}), 2, "--max-frames");
  expect_error(minicpm({"run", hf_, "--video", "-"}), 2, "needs a question");
}

TEST_F(VideoTest, InAChat) {
  const std::string video = write_video("clip.mkv", 20), saved = path("talk.json"), page = path("talk.md");
  const std::vector<std::string> words = {"run", hf_, "--greedy", "-n", "6", "--min-tokens", "6"};
  const Outcome outcome =
      minicpm(words, {.input = "/video " + video + "\nWhat?\nAnd then?\n/save " + saved + "\n/save " + page + "\n"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("64x48, 2.0 s, 6 frames in 6 parts"));
  const Json content = parse_json(read_all(saved), "talk.json").at("messages").at(0).at("content");
  EXPECT_EQ(content.at(0).at("type"), "video");
  EXPECT_EQ(content.at(0).at("path"), video);
  EXPECT_THAT(read_all(page), HasSubstr("[video](<" + video + ">)"));

  auto given = words;
  given.insert(given.end(), {"--video", video});
  const std::string answers = minicpm(given, {.input = "What?\nAnd then?\n"}).out;
  EXPECT_EQ(answers, outcome.out);
  expect_error(minicpm(words, {.input = "/video " + path("absent.mp4") + "\n"}), 3, "absent.mp4");
}

}  // namespace
}  // namespace minicpm::e2e
