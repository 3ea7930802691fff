// Writes samples of pico-o's generator as files: sounds (WAV), pictures (PNG) and data.jsonl in the form that
// `minicpm train` reads.
//
//   pico_o_data --task ask_sum --split test --count 20 --out DIR
//   pico_o_data --speed
#include <fmt/format.h>
#include <png.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "media/wav.h"
#include "pico-o/tasks.h"

namespace minicpm::pico_o {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string task = "commands", split = "train", out;
  uint64_t seed = 1;
  int64_t first = 0, count = 10;
  MakeOptions make;
  bool speed = false;
};

void write_png(const fs::path& file, const Image& image) {
  png_image png = {};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&png, file.c_str(), 0, image.rgb.data(), 0, nullptr) == 0) {
    fail(ErrorCode::kIo, "{}: {}", file.string(), png.message);
  }
}

/// One sample's files, and its line of data.jsonl.
Json write_sample(const TrainingSample& sample, const fs::path& folder, int64_t number) {
  Json json = {{"messages", Json::array()}};
  for (const Message& message : sample.messages) {
    std::string content;
    for (const ContentPart& part : message.content) {
      if (part.is_visual()) {
        const std::string name = fmt::format("{}.png", number);
        write_png(folder / name, *part.images[0]);
        json["images"].push_back(name);
        content += "<image>";
      } else if (part.kind == ContentPart::Kind::kSound) {
        const std::string name = fmt::format("{}.wav", number);
        write_file_atomically(folder / name, wav_file(*part.sound, 16000));
        json["audios"].push_back(name);
        content += "<audio>";
      } else {
        content += part.text;
      }
    }
    json["messages"].push_back({{"role", message.role}, {"content", content}});
  }
  if (!sample.spoken.empty()) json["spoken"] = sample.spoken[0].substr(1);
  return json;
}

void measure_speed(const Arguments& arguments, Split split) {
  using Clock = std::chrono::steady_clock;
  for (const std::string_view task : tasks()) {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < arguments.count; ++i)
      make(task, split, arguments.seed, i, arguments.make);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    fmt::print("{:<12}{:>9.2f} ms a sample\n", task, 1000 * seconds / static_cast<double>(arguments.count));
  }
}

void run(const Arguments& arguments) {
  const Split split = arguments.split == "test" ? Split::kTest : Split::kTrain;
  if (arguments.speed) return measure_speed(arguments, split);
  if (arguments.out.empty()) fail(ErrorCode::kInvalidRequest, "--out is missing");
  fs::create_directories(arguments.out);
  std::string lines;
  for (int64_t i = arguments.first; i < arguments.first + arguments.count; ++i) {
    const TrainingSample sample = make(arguments.task, split, arguments.seed, i, arguments.make);
    lines += write_sample(sample, arguments.out, i).dump() + "\n";
  }
  write_file_atomically(fs::path(arguments.out) / "data.jsonl", lines);
}

}  // namespace
}  // namespace minicpm::pico_o

int main(int argc, char** argv) {
  minicpm::pico_o::Arguments arguments;
  CLI::App app("Writes samples of pico-o's generator as sounds, pictures and data.jsonl.");
  app.add_option("--task", arguments.task, "digits, commands, sums, colors, ask_sum, ask_color, ...")
      ->capture_default_str();
  app.add_option("--split", arguments.split, "train or test")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "of the samples")->capture_default_str();
  app.add_option("--first", arguments.first, "number of the first sample")->capture_default_str();
  app.add_option("--count", arguments.count, "samples")->capture_default_str();
  app.add_option("--difficulty", arguments.make.difficulty, "0 to 1")->capture_default_str();
  app.add_option("--out", arguments.out, "folder to write");
  app.add_flag("--speed", arguments.speed, "print how long samples take");
  CLI11_PARSE(app, argc, argv);
  try {
    minicpm::pico_o::run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "pico_o_data: {}\n", error.what());
    return 1;
  }
  return 0;
}
