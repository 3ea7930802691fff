#include "train/dataset.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "base/base64.h"
#include "media/wav.h"
#include "support/video_writer.h"
#include "train_support.h"

namespace minicpm {
namespace {

using namespace testing;
using ::testing::HasSubstr;

/// A BMP of that size as bytes; sizes that are multiples of 4, so that rows have no padding.
std::string bmp(int width, int height) {
  std::string out = "BM";
  const auto u32 = [&](uint32_t v) {
    for (int shift = 0; shift < 32; shift += 8)
      out += static_cast<char>(v >> shift);
  };
  const uint32_t pixels = static_cast<uint32_t>(width) * static_cast<uint32_t>(height) * 3;
  for (const uint32_t v : {54 + pixels, 0u, 54u, 40u, static_cast<uint32_t>(width), static_cast<uint32_t>(height)})
    u32(v);
  u32(1 | 24u << 16);
  out.append(24, '\0');
  out.append(pixels, 'p');
  return out;
}

class DatasetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "minicpm-train-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    write("cat.bmp", bmp(4, 4));
    write("dog.bmp", bmp(8, 4));
    write("one.wav", wav_file(std::vector<float>(1600, 0.1f), 16000));
    write("two.wav", wav_file(std::vector<float>(1600, 0.1f), 8000));  // 3200 samples at 16 kHz
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }
  TrainingSample only(const std::string& record) const {
    std::string line = record;
    std::ranges::replace(line, '\n', ' ');
    return JsonDataset::open(write("one.jsonl", line + "\n"))->sample(0);
  }
  /// The only sample's messages: "user: [4x4] text | more text".
  std::string shown(const std::string& record) const {
    std::string text;
    for (const Message& message : only(record).messages) {
      text += message.role + ":";
      for (const ContentPart& part : message.content) {
        if (part.kind == ContentPart::Kind::kText) text += " {" + part.text + "}";
        if (part.kind == ContentPart::Kind::kFrames) text += fmt::format(" @{}", fmt::join(part.frame_ids, ","));
        if (part.sound) text += fmt::format(" ({} samples)", part.sound->size());
        for (const auto& image : part.images)
          text += fmt::format(" [{}x{}]", image->width, image->height);
      }
      text += "\n";
    }
    return text;
  }
  std::string refusal(const std::string& record) const {
    std::string text = error_text([&] { only(record); });
    EXPECT_THAT(text, HasSubstr("one.jsonl:1: "));
    return text;
  }

  std::filesystem::path folder_;
};

TEST_F(DatasetTest, OfficialOnePicture) {
  const std::string turns =
      R"("conversations":[{"role":"user","content":"%"},{"role":"assistant","content":"A cat."}])";
  const auto with = [&](const std::string& text) {
    std::string record = R"({"id":"0","image":"cat.bmp",)" + turns + "}";
    return shown(record.replace(record.find('%'), 1, text));
  };
  EXPECT_EQ(with("<image>\\nWhat?"), "user: [4x4] {What?}\nassistant: {A cat.}\n");
  EXPECT_EQ(with("What?"), "user: [4x4] {What?}\nassistant: {A cat.}\n");
  EXPECT_EQ(with("Look at <image> now"), "user: {Look at} [4x4] {now}\nassistant: {A cat.}\n");
  EXPECT_EQ(with("What?\\n<image>"), "user: {What?} [4x4]\nassistant: {A cat.}\n");
}

TEST_F(DatasetTest, OfficialSeveralPictures) {
  EXPECT_EQ(shown(R"({"image":{"<image_00>":"cat.bmp","<image_01>":"dog.bmp"},"conversations":[
                   {"role":"user","content":"First <image_01>\nthen <image_00>"},{"role":"assistant","content":"x"},
                   {"role":"user","content":"again"},{"role":"assistant","content":"<image_00> is text"}]})"),
            "user: {First} [8x4] {then} [4x4]\nassistant: {x}\nuser: {again}\nassistant: {<image_00> is text}\n");
  EXPECT_EQ(shown(R"({"image":{"<image_00>":"cat.bmp","<image_01>":"dog.bmp"},"conversations":[
                   {"role":"user","content":"Compare."},{"role":"assistant","content":"x"}]})"),
            "user: [4x4] [8x4] {Compare.}\nassistant: {x}\n");
}

TEST_F(DatasetTest, Messages) {
  EXPECT_EQ(
      shown(R"({"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"<image><image>Which?"},
                   {"role":"assistant","content":"the first"},{"role":"user","content":"and <image>?"},
                   {"role":"assistant","content":"no"}],"images":["cat.bmp",{"path":"dog.bmp","bytes":null},"cat.bmp"]})"),
      "system: {Be brief.}\nuser: [4x4] [8x4] {Which?}\nassistant: {the first}\nuser: {and} [4x4] {?}\n"
      "assistant: {no}\n");
  EXPECT_EQ(shown(R"({"system":"S","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}],
                   "images":[]})"),
            "system: {S}\nuser: {hi}\nassistant: {ho}\n");
  EXPECT_EQ(
      shown(R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","image":"cat.bmp"},
                   {"type":"image"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c",
                   "reasoning_content":"hm"}],"images":["dog.bmp"]})"),
      "user: {a} [4x4] [8x4] {b}\nassistant: {<think>\nhm\n</think>\n\nc}\n");
}

TEST_F(DatasetTest, ShareGptQueryAndAlpaca) {
  EXPECT_EQ(shown(R"({"conversations":[{"from":"human","value":"<image>What?"},{"from":"gpt","value":"A cat."}],
                   "images":["cat.bmp"]})"),
            "user: [4x4] {What?}\nassistant: {A cat.}\n");
  EXPECT_EQ(shown(R"({"query":"<image>and now?","response":"still","history":[["what?","a cat"]],"images":"cat.bmp"})"),
            "user: {what?}\nassistant: {a cat}\nuser: [4x4] {and now?}\nassistant: {still}\n");
  EXPECT_EQ(shown(R"({"instruction":"Translate.","input":"chat","output":"cat","system":""})"),
            "user: {Translate.\nchat}\nassistant: {cat}\n");
}

TEST_F(DatasetTest, FramesOfAVideo) {
  const std::string turns =
      R"("messages":[{"role":"user","content":"<video>Where?"},{"role":"assistant","content":"left"}])";
  EXPECT_EQ(shown(R"({"videos":[["cat.bmp","cat.bmp","cat.bmp"]],)" + turns + "}"),
            "user: @0 [4x4] @3 [4x4] @7 [4x4] {Where?}\nassistant: {left}\n");
  EXPECT_EQ(shown(R"({"videos":[{"frames":["cat.bmp","cat.bmp","cat.bmp"],"fps":2,"pack":2}],)" + turns + "}"),
            "user: @0,5 [4x4] [4x4] @10 [4x4] {Where?}\nassistant: {left}\n");
  EXPECT_THAT(refusal(R"({"videos":[{"frames":["cat.bmp"],"fps":0}],)" + turns + "}"), HasSubstr("\"fps\" must be"));
  EXPECT_THAT(refusal(R"({"videos":[{"frames":["cat.bmp"],"pack":7}],)" + turns + "}"), HasSubstr("packs of 1 to 6"));
  EXPECT_THAT(refusal(R"({"videos":[[]],)" + turns + "}"), HasSubstr("a list of frames"));
  EXPECT_THAT(refusal(R"({"videos":["none.mp4"],)" + turns + "}"), HasSubstr("none.mp4"));
}

TEST_F(DatasetTest, VideoFiles) {
  write("clip.mkv", make_video({.width = 64, .height = 48, .fps = 10, .frames = 20}));
  const auto video = [&](const std::string& source, bool temporal = true) {
    DatasetOptions options;
    options.temporal = temporal;
    const auto file = write("video.jsonl", R"({"query":"<video>Where?","response":"left","videos":[)" + source + "]}");
    const auto dataset = JsonDataset::open(file, options);
    return dataset->sample(0).messages[0].content;
  };
  std::vector<ContentPart> parts = video(R"("clip.mkv")");
  ASSERT_EQ(parts.size(), 7u);  // three frames a second, and the text
  EXPECT_EQ(parts[0].images[0]->width, 64);
  EXPECT_EQ(parts[0].max_slices, 1);
  EXPECT_EQ(parts[0].use_image_id, false);
  parts = video(R"({"path":"clip.mkv","fps":2,"pack":2})");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[1].images.size(), 2u);
  parts = video(R"("clip.mkv")", false);
  ASSERT_EQ(parts.size(), 3u);  // one a second
  EXPECT_TRUE(parts[0].frame_ids.empty());
  // A list of frames is treated like the frames of a file.
  parts = video(R"(["cat.bmp","dog.bmp"])");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].max_slices, 1);
  EXPECT_EQ(parts[0].use_image_id, false);
  EXPECT_THAT(error_text([&] { video(R"({"path":"clip.mkv","pack":9})"); }), HasSubstr("video.jsonl:1: video "));
}

TEST_F(DatasetTest, PicturesInTheRecord) {
  constexpr std::string_view kPng =  // 1x1, grey
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
  const std::string turns = R"("messages":[{"role":"user","content":"?"},{"role":"assistant","content":"!"}])";
  const std::string expected = "user: [1x1] {?}\nassistant: {!}\n";
  EXPECT_EQ(shown(fmt::format(R"({{"image":"data:image/png;base64,{}",{}}})", kPng, turns)), expected);
  EXPECT_EQ(shown(fmt::format(R"({{"images":[{{"bytes":"{}"}}],{}}})", kPng, turns)), expected);
  EXPECT_THAT(refusal(fmt::format(R"({{"image":"data:image/png;base64,?",{}}})", turns)),
              HasSubstr("not valid base64"));
  EXPECT_THAT(refusal(fmt::format(R"({{"image":"data:image/png,x",{}}})", turns)), HasSubstr("data: URL"));
  EXPECT_THAT(refusal(fmt::format(R"({{"image":"https://a/b.png",{}}})", turns)), HasSubstr("not fetched"));
}

TEST_F(DatasetTest, MediaRootTakesThePlaceOfTheFolder) {
  std::filesystem::create_directory(folder_ / "lists");
  const auto file = write("lists/a.json", R"([{"image":"dog.bmp","query":"?","response":"!"}])");
  DatasetOptions options;
  options.media_root = folder_;
  EXPECT_EQ(JsonDataset::open(file, options)->sample(0).messages[0].content[0].images[0]->width, 8);
  EXPECT_THAT(error_text([&] { JsonDataset::open(file)->sample(0); }), HasSubstr("a.json:1: picture "));
}

TEST_F(DatasetTest, LinesAndArraysKnowTheirLines) {
  const std::string record = R"({"query":"?","response":"!"})";
  const auto lines =
      JsonDataset::open(write("a.jsonl", "\xef\xbb\xbf" + record + "\r\n\n  \n" + record + "\n" + record));
  ASSERT_EQ(lines->size(), 3);
  EXPECT_THAT(lines->sample(0).origin, ::testing::EndsWith("a.jsonl:1"));
  EXPECT_THAT(lines->sample(1).origin, ::testing::EndsWith("a.jsonl:4"));
  EXPECT_THAT(lines->sample(2).origin, ::testing::EndsWith("a.jsonl:5"));
  const auto array = JsonDataset::open(write(
      "a.json", "[\n" + record + ",\n\n{\"query\": \"]},{\\\"\\\\\",\n\"response\": \"x\"}\n,\n" + record + "]\n"));
  ASSERT_EQ(array->size(), 3);
  EXPECT_THAT(array->sample(1).origin, ::testing::EndsWith("a.json:4"));
  EXPECT_EQ(array->sample(1).messages[0].content[0].text, "]},{\"\\");
  EXPECT_THAT(array->sample(2).origin, ::testing::EndsWith("a.json:7"));
}

TEST_F(DatasetTest, FilesThatAreRefused) {
  const auto refused = [&](const std::string& content) {
    return error_text([&] { JsonDataset::open(write("a.json", content))->sample(0); });
  };
  EXPECT_THAT(error_text([&] { JsonDataset::open(folder_ / "none.json"); }), HasSubstr("none.json"));
  EXPECT_THAT(refused(""), HasSubstr("a.json: the file has no samples"));
  EXPECT_THAT(refused("\n \n"), HasSubstr("the file has no samples"));
  EXPECT_THAT(refused("[]"), HasSubstr("the file has no samples"));
  EXPECT_THAT(refused("[{}"), HasSubstr("a.json:1: not a JSON array of samples: the file ends early"));
  EXPECT_THAT(refused("[\n{},\n]"), HasSubstr("a.json:3: not a JSON array of samples: expected a sample"));
  EXPECT_THAT(refused("[{} {}]"), HasSubstr("a.json:1: not valid JSON"));
  EXPECT_THAT(refused("[{}]]"), HasSubstr("after the end"));
  EXPECT_THAT(refused("[}]"), HasSubstr("a bracket that was not opened"));
  EXPECT_THAT(refused("[\"a]"), HasSubstr("the file ends early"));
  EXPECT_THAT(refused("[\"a\\"), HasSubstr("the file ends early"));
  EXPECT_THAT(refused("{\"a\": }"), HasSubstr("a.json:1: not valid JSON at byte"));
  EXPECT_THAT(refused("[1]"), HasSubstr("a.json:1: expected a JSON object, found number"));
}

TEST_F(DatasetTest, SamplesThatAreRefused) {
  const std::string q = R"({"role":"user","content":"q"})", a = R"({"role":"assistant","content":"a"})";
  const auto messages = [&](const std::string& list, const std::string& more = "") {
    return refusal(R"({"messages":[)" + list + "]" + more + "}");
  };
  EXPECT_THAT(messages(""), HasSubstr("the conversation is empty"));
  EXPECT_THAT(messages(q), HasSubstr("no assistant turn"));
  EXPECT_THAT(messages(a), HasSubstr("the first turn must be the user's"));
  EXPECT_THAT(messages(q + "," + a + "," + q), HasSubstr("the last turn must be the assistant's"));
  EXPECT_THAT(messages(q + R"(,{"role":"tool","content":"x"},)" + a), HasSubstr("messages[1]: unknown role \"tool\""));
  EXPECT_THAT(messages(q + R"(,{"role":"system","content":"x"},)" + a), HasSubstr("system message must be the first"));
  EXPECT_THAT(messages(q + R"(,{"role":"assistant"})"), HasSubstr("messages[1]: \"content\" is missing"));
  EXPECT_THAT(messages(q + R"(,{"role":"assistant","content":7})"), HasSubstr("found number"));
  EXPECT_THAT(messages(q + R"(,{"content":"x"})"), HasSubstr("\"role\" is missing"));
  EXPECT_THAT(messages(q + ",7"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(messages(R"({"role":"user","content":"<image>"},)" + a), HasSubstr("more than 0 <image> for 0 pictures"));
  EXPECT_THAT(messages(R"({"role":"user","content":"<image>"},)" + a, R"(,"images":["cat.bmp","dog.bmp"])"),
              HasSubstr("1 marks <image> for 2 pictures"));
  EXPECT_THAT(messages(R"({"role":"user","content":"<image><image>"},)" + a, R"(,"images":["cat.bmp"])"),
              HasSubstr("more than 1 <image> for 1 pictures"));
  EXPECT_THAT(messages(R"({"role":"user","content":"<image_00>"},)" + a,
                       R"(,"image":{"<image_00>":"cat.bmp","<image_01>":"dog.bmp"})"),
              HasSubstr("no text has the mark <image_01>"));
  EXPECT_THAT(messages(q + "," + a, R"(,"image":{"first":"cat.bmp"})"), HasSubstr("expected marks such as <image_00>"));
  EXPECT_THAT(messages(q + "," + a, R"(,"image":"cat.bmp","images":["cat.bmp"])"), HasSubstr("both"));
  EXPECT_THAT(messages(q + "," + a, R"(,"images":7)"), HasSubstr("\"images\" must be a path or a list"));
  EXPECT_THAT(messages(q + "," + a, R"(,"images":[7])"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(messages(q + "," + a, R"(,"images":[{}])"), HasSubstr("a picture without a path"));
  EXPECT_THAT(messages(q + "," + a, R"(,"tools":"[{}]")"), HasSubstr("\"tools\" is not supported"));
  EXPECT_THAT(messages(q + "," + a, R"(,"image":"lost.png")"),
              HasSubstr("one.jsonl:1: picture " + (folder_ / "lost.png").string()));
  write("bad.png", "no picture");
  EXPECT_THAT(messages(q + "," + a, R"(,"image":"bad.png")"), HasSubstr("bad.png"));
  EXPECT_THAT(messages(q + "," + a, R"(,"image":".")"), HasSubstr("picture "));
  EXPECT_THAT(refusal("{}"), HasSubstr("needs \"messages\", \"conversations\", \"query\" or \"instruction\""));
  EXPECT_THAT(refusal(R"({"query":"q"})"), HasSubstr("\"response\" is missing"));
  EXPECT_THAT(refusal(R"({"query":"q","response":"r","history":[["a"]]})"), HasSubstr("list of pairs"));
  EXPECT_THAT(refusal(R"({"messages":{}})"), HasSubstr("\"messages\" must be a list, found object"));
}

TEST_F(DatasetTest, Sounds) {
  const std::string answer = R"({"role":"assistant","content":"x"}])";
  EXPECT_EQ(
      shown(R"({"messages":[{"role":"user","content":"<audio>What is said?"},)" + answer + R"(,"audios":["one.wav"]})"),
      "user: (1600 samples) {What is said?}\nassistant: {x}\n");
  EXPECT_EQ(shown(R"({"messages":[{"role":"user","content":"<image>Is it <audio> or <audio>"},)" + answer +
                  R"(,"audios":["one.wav","two.wav"],"images":["cat.bmp"]})"),
            "user: [4x4] {Is it} (1600 samples) {or} (3200 samples)\nassistant: {x}\n");
  EXPECT_EQ(shown(R"({"conversations":[{"from":"human","value":"What is said?"},{"from":"gpt","value":"x"}],)"
                  R"("audio":{"path":"one.wav"}})"),
            "user: (1600 samples) {What is said?}\nassistant: {x}\n");
  EXPECT_EQ(shown(R"({"query":"Write <audio>","response":"x","audios":["one.wav"]})"),
            "user: {Write} (1600 samples)\nassistant: {x}\n");
  EXPECT_EQ(shown(R"({"messages":[{"role":"user","content":[{"type":"audio","audio":"one.wav"},)"
                  R"({"type":"text","text":"?"}]},)" +
                  answer + "}"),
            "user: (1600 samples) {?}\nassistant: {x}\n");
  const std::string url = "data:audio/wav;base64," + encode_base64(wav_file(std::vector<float>(800, 0.1f), 16000));
  EXPECT_EQ(shown(R"({"messages":[{"role":"user","content":"<audio>"},)" + answer + R"(,"audios":[")" + url + "\"]}"),
            "user: (800 samples)\nassistant: {x}\n");
  EXPECT_EQ(shown(R"({"messages":[{"role":"user","content":"an <audio> element"},)" + answer + "}"),
            "user: {an <audio> element}\nassistant: {x}\n");

  const TrainingSample told = only(R"({"messages":[{"role":"user","content":"<audio>"},)" + answer +
                                   R"(,"audios":["one.wav"],"spoken":"go on"})");
  EXPECT_THAT(told.spoken, ::testing::ElementsAre("go on"));
}

TEST_F(DatasetTest, SoundsThatCannotBeHeard) {
  const auto with = [&](const std::string& text, const std::string& more) {
    return refusal(R"({"messages":[{"role":"user","content":")" + text + R"("},{"role":"assistant","content":"x"}],)" +
                   more + "}");
  };
  write("noise.wav", "no sound");
  EXPECT_THAT(with("<audio>", R"("audios":["lost.wav"])"), HasSubstr("sound " + (folder_ / "lost.wav").string()));
  EXPECT_THAT(with("<audio>", R"("audios":["noise.wav"])"), HasSubstr("noise.wav"));
  EXPECT_THAT(with("<audio>", R"("audios":["http://x/a.wav"])"), HasSubstr("not fetched from the network"));
  EXPECT_THAT(with("<audio>", R"("audios":[{}])"), HasSubstr("a sound without a path"));
  EXPECT_THAT(with("<audio>", R"("audios":["data:audio/wav;base64,!!"])"), HasSubstr("not valid base64"));
  EXPECT_THAT(with("<audio>", R"("audios":7)"), HasSubstr("\"audios\" must be a path or a list"));
  EXPECT_THAT(with("<audio><audio>", R"("audios":["one.wav"])"), HasSubstr("more than 1 <audio> for 1 sounds"));
  EXPECT_THAT(with("<audio>", R"("audios":["one.wav","two.wav"])"), HasSubstr("1 marks <audio> for 2 sounds"));
  EXPECT_THAT(with("<audio>", R"("audios":["one.wav"],"spoken":7)"), HasSubstr("\"spoken\" must be a text or a list"));
}

TEST_F(DatasetTest, DamagedRecordsNeverCrash) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  const std::string good =
      R"({"image":{"<image_00>":"cat.bmp"},"conversations":[{"role":"user","content":"<image_00>?"},)"
      R"({"role":"assistant","content":"a"}],"videos":[["cat.bmp"]],"history":[["a","b"]]})";
  int errors = 0, samples = 0;
  for (int i = 0; i < 250; ++i) {
    std::string text = i % 2 ? "[" + good + ",\n" + good + "]" : good + "\n" + good + "\n";
    const size_t changes = 1 + random() % 6;
    for (size_t k = 0; k < changes; ++k) {
      const size_t at = random() % text.size();
      if (random() % 3 == 0)
        text.erase(at, random() % 10);
      else if (random() % 2)
        text[at % text.size()] = static_cast<char>(random());
      else
        text.insert(at, 1, "{}[]\",:\\<>\n"[random() % 11]);
      if (text.empty()) text = " ";
    }
    try {
      const auto dataset = JsonDataset::open(write("fuzz.json", text));
      for (int64_t n = 0; n < dataset->size(); ++n) {
        try {
          dataset->sample(n);
          ++samples;
        } catch (const Error& error) {
          ++errors;
          EXPECT_THAT(error.what(), HasSubstr("fuzz.json:"));
        }
      }
    } catch (const Error& error) {
      ++errors;
      EXPECT_THAT(error.what(), HasSubstr("fuzz.json"));
    }
  }
  EXPECT_GT(errors, 50);
  EXPECT_GT(samples, 5);
}

}  // namespace
}  // namespace minicpm
