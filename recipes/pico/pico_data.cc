// pico_data: writes samples of the generator as files, measures its speed, or prints its texts.
#include <png.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "pico/generator.h"

namespace minicpm::pico {
namespace {

struct Arguments {
  std::string task = "word";
  std::string split = "train";
  std::string out, sheet;
  uint64_t seed = 0;
  int64_t first = 0, count = 20;
  int64_t corpus = 0;
  DrawOptions options;
  bool list = false, speed = false;
};

Split split_of(const Arguments& arguments) {
  return arguments.split == "test" ? Split::kTest : Split::kTrain;
}

/// The boxes as frames, to look at.
void draw_boxes(Image& image, const std::vector<LabelBox>& boxes) {
  const auto dot = [&](int x, int y) {
    if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
    uint8_t* pixel = image.rgb.data() + (static_cast<size_t>(y) * image.width + x) * 3;
    pixel[0] = 255;
    pixel[1] = 0;
    pixel[2] = 255;
  };
  for (const LabelBox& box : boxes) {
    const int left = static_cast<int>(box.left), right = static_cast<int>(box.right);
    const int top = static_cast<int>(box.top), bottom = static_cast<int>(box.bottom);
    for (int x = left; x <= right; ++x)
      dot(x, top), dot(x, bottom);
    for (int y = top; y <= bottom; ++y)
      dot(left, y), dot(right, y);
  }
}

void write_png(const std::filesystem::path& file, const Image& image) {
  png_image png = {};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&png, file.c_str(), 0, image.rgb.data(), 0, nullptr) == 0) {
    fail(ErrorCode::kIo, "{}: {}", file.string(), png.message);
  }
}

/// Writes the pictures of one sample and returns its line of data.jsonl.
Json write_sample(const Arguments& arguments, const TrainingSample& sample, int64_t number) {
  const std::filesystem::path folder = arguments.out;
  Json messages = Json::array(), images = Json::array(), frames = Json::array();
  size_t picture = 0;
  for (const Message& message : sample.messages) {
    std::string content;
    for (const ContentPart& part : message.content) {
      content += part.text;
      for (size_t i = 0; i < part.images.size(); ++i, ++picture) {
        const bool is_frame = part.kind == ContentPart::Kind::kFrames;
        const std::string name = is_frame
                                     ? fmt::format("{}/{:02}.png", number, picture)
                                     : fmt::format("{}{}.png", number, picture == 0 ? "" : fmt::format("_{}", picture));
        if (is_frame) std::filesystem::create_directories(folder / std::to_string(number));
        Image image = *part.images[i];
        if (picture < sample.boxes.size()) draw_boxes(image, sample.boxes[picture]);
        write_png(folder / name, image);
        if (!is_frame || frames.empty()) content += is_frame ? "<video>" : "<image>";
        (is_frame ? frames : images).push_back(name);
      }
    }
    messages.push_back({{"role", message.role}, {"content", content}});
  }
  Json line = {{"messages", messages}};
  if (!images.empty()) line["images"] = images;
  if (!frames.empty()) line["videos"] = Json::array({frames});
  return line;
}

void write_files(const Arguments& arguments) {
  std::filesystem::create_directories(arguments.out);
  const std::filesystem::path file = std::filesystem::path(arguments.out) / "data.jsonl";
  std::ofstream lines(file);
  for (int64_t i = 0; i < arguments.count; ++i) {
    const TrainingSample sample =
        draw(arguments.task, split_of(arguments), arguments.seed, arguments.first + i, arguments.options);
    lines << write_sample(arguments, sample, i).dump() << '\n';
  }
  lines.flush();
  if (!lines) fail(ErrorCode::kIo, "{}: could not be written", file.string());
}

/// All pictures side by side in one file, to look at.
void write_sheet(const Arguments& arguments) {
  constexpr int kSheetWidth = 1600, kGap = 6;
  std::vector<Image> pictures;
  for (int64_t i = 0; i < arguments.count; ++i) {
    const TrainingSample sample =
        draw(arguments.task, split_of(arguments), arguments.seed, arguments.first + i, arguments.options);
    for (const ContentPart& part : sample.messages.at(0).content) {
      for (const auto& image : part.images) {
        pictures.push_back(*image);
        const size_t at = pictures.size() - 1;
        if (sample.boxes.size() == 1) draw_boxes(pictures[at], sample.boxes[0]);
      }
    }
  }
  Image sheet{kSheetWidth, 0, {}};
  int x = 0, y = 0, row = 0;
  for (const Image& picture : pictures) {
    if (x + picture.width > kSheetWidth) {
      x = 0;
      y += row + kGap;
      row = 0;
    }
    row = std::max(row, picture.height);
    if (y + row > sheet.height) {
      sheet.height = y + row;
      sheet.rgb.resize(static_cast<size_t>(sheet.height) * kSheetWidth * 3, 200);
    }
    const int width = std::min(picture.width, kSheetWidth);
    for (int line = 0; line < picture.height; ++line) {
      uint8_t* to = sheet.rgb.data() + (static_cast<size_t>(y + line) * kSheetWidth + x) * 3;
      std::copy_n(picture.row(line), width * 3, to);
    }
    x += picture.width + kGap;
  }
  write_png(arguments.sheet, sheet);
}

void print_speed(const Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  for (const std::string_view task : tasks()) {
    for (int64_t i = 0; i < 50; ++i)
      draw(task, Split::kTrain, 1, i, arguments.options);  // fills the caches
    const auto start = Clock::now();
    int64_t samples = 0, pictures = 0;
    double seconds = 0;
    while (seconds < 1) {
      const TrainingSample sample = draw(task, Split::kTrain, 0, samples++, arguments.options);
      for (const ContentPart& part : sample.messages.at(0).content)
        pictures += static_cast<int64_t>(part.images.size());
      seconds = std::chrono::duration<double>(Clock::now() - start).count();
    }
    fmt::print("{:14} {:7.0f} samples/s {:7.0f} pictures/s\n", task, static_cast<double>(samples) / seconds,
               static_cast<double>(pictures) / seconds);
  }
}

void print_corpus(const Arguments& arguments) {
  for (int64_t i = 0; i < arguments.corpus; ++i) {
    const std::string_view task = tasks()[static_cast<size_t>(i) % tasks().size()];
    const TrainingSample sample = draw(task, split_of(arguments), arguments.seed, i, arguments.options);
    for (const Message& message : sample.messages) {
      for (const ContentPart& part : message.content) {
        if (part.kind == ContentPart::Kind::kText) fmt::print("{}\n", part.text);
      }
    }
  }
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Writes samples of pico's training data");
  app.add_flag("--list", arguments.list, "Print the names of the tasks");
  app.add_flag("--speed", arguments.speed, "Measure pictures per second of each task");
  app.add_option("--corpus", arguments.corpus, "Print questions and answers of N samples over all tasks");
  app.add_option("--task", arguments.task, "Task to draw")->capture_default_str();
  app.add_option("--split", arguments.split, "train or test")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "Seed")->capture_default_str();
  app.add_option("--first", arguments.first, "Index of the first sample")->capture_default_str();
  app.add_option("--count", arguments.count, "Number of samples")->capture_default_str();
  app.add_option("--out", arguments.out, "Folder for the pictures and data.jsonl");
  app.add_option("--sheet", arguments.sheet, "One PNG with all pictures");
  app.add_option("--difficulty", arguments.options.difficulty, "0 (easy) to 1")->capture_default_str();
  app.add_option("--min-letters", arguments.options.min_letters, "Shortest word")->capture_default_str();
  app.add_option("--max-letters", arguments.options.max_letters, "Longest word")->capture_default_str();
  app.add_option("--large", arguments.options.large, "Share of pictures larger than a slice")->capture_default_str();
  app.add_flag("--boxes", arguments.options.boxes, "Draw the boxes of the dense labels into the pictures");
  CLI11_PARSE(app, argc, argv);
  if (arguments.list) {
    for (const std::string_view task : tasks())
      fmt::print("{}\n", task);
  } else if (arguments.speed) {
    print_speed(arguments);
  } else if (arguments.corpus > 0) {
    print_corpus(arguments);
  } else if (!arguments.sheet.empty()) {
    write_sheet(arguments);
  } else if (!arguments.out.empty()) {
    write_files(arguments);
  } else {
    fmt::print(stderr, "{}", app.help());
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm::pico

int main(int argc, char** argv) {
  try {
    return minicpm::pico::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "pico_data: {}\n", error.what());
    return 1;
  }
}
