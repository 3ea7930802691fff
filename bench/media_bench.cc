// Time from the bytes of a picture to the patches that the vision tower takes, stage by stage. Without a file the
// picture is made here: slopes and waves of colour with noise, as a JPEG of quality 90 with halved colours.
#include <cstdio>  // jpeglib.h needs FILE

#include <jpeglib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file_map.h"
#include "media/image.h"
#include "media/slicing.h"

namespace {

using namespace minicpm;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string file, save;
  int width = 4000, height = 3000, quality = 90, repetitions = 9;
};

uint8_t sample_at(double value) {
  return static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
}

Image make_photo(int width, int height) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  std::minstd_rand random(1);
  uint8_t* pixel = image.rgb.data();
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x, pixel += 3) {
      const double wave = 40 * std::sin(x * 0.013 + y * 0.004) + 25 * std::sin(x * 0.11 - y * 0.07);
      const double noise = static_cast<double>(random() % 2048) / 2048.0 * 24 - 12;
      pixel[0] = sample_at(60 + 120.0 * x / width + wave + noise);
      pixel[1] = sample_at(40 + 150.0 * y / height + wave + noise);
      pixel[2] = sample_at(90 + 60.0 * (x + y) / (width + height) - wave + noise);
    }
  }
  return image;
}

std::string encode_jpeg(const Image& image, int quality) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);  // colours at half the resolution
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < image.height; ++y) {
    JSAMPROW row = const_cast<uint8_t*>(image.row(y));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  std::free(data);
  return bytes;
}

/// Milliseconds of each repetition, sorted.
std::vector<double> measure(int repetitions, const std::function<void()>& fn) {
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) {
    const Clock::time_point start = Clock::now();
    fn();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return times;
}

void report(const char* stage, const Options& options, const std::function<void()>& fn) {
  const std::vector<double> times = measure(options.repetitions, fn);
  fmt::print("{:34} best {:7.1f} ms  median {:7.1f} ms\n", stage, times.front(), times[times.size() / 2]);
  std::fflush(stdout);
}

size_t prepare(const Image& image, const SliceConfig& config) {
  size_t patches = 0;
  for (const Image& slice : slice_image(image, config))
    patches += make_patches(slice, config).values.size();
  return patches;
}

void run(const Options& options) {
  const std::string bytes = options.file.empty()
                                ? encode_jpeg(make_photo(options.width, options.height), options.quality)
                                : read_file(options.file, size_t{1} << 30);
  if (!options.save.empty()) write_file_atomically(options.save, bytes);
  const std::string name = options.file.empty() ? "picture" : options.file;
  const auto decode = [&] { return decode_image(std::as_bytes(std::span(bytes)), name); };
  const Image image = decode();
  const SliceConfig config;
  const SlicePlan plan = plan_slices({image.width, image.height}, config);
  const std::vector<Image> slices = slice_image(image, config);
  fmt::print("{}x{}, {} bytes, overview {}x{}, {} slices of {}x{}\n", image.width, image.height, bytes.size(),
             plan.overview.width, plan.overview.height, slices.size() - 1, plan.slice.width, plan.slice.height);
  report("decode", options, [&] { decode(); });
  report("overview", options, [&] { resize_bicubic(image, plan.overview.width, plan.overview.height); });
  if (plan.grid) {
    report("refined picture", options, [&] { resize_bicubic(image, plan.refined.width, plan.refined.height); });
  }
  report("overview and slices", options, [&] { slice_image(image, config); });
  report("patches of all", options, [&] {
    for (const Image& slice : slices)
      make_patches(slice, config);
  });
  report("all, from bytes to patches", options, [&] { prepare(decode(), config); });
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Time of preparing a picture");
  app.add_option("FILE", options.file, "picture; made by the program by default");
  app.add_option("--width", options.width, "of the made picture")->check(CLI::Range(16, 16384));
  app.add_option("--height", options.height, "of the made picture")->check(CLI::Range(16, 16384));
  app.add_option("--quality", options.quality, "of the made JPEG")->check(CLI::Range(1, 100));
  app.add_option("-r,--repetitions", options.repetitions, "runs of each stage")->check(CLI::Range(1, 1000));
  app.add_option("--save", options.save, "write the picture's bytes to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "media_bench: {}\n", e.what());
    return 1;
  }
  return 0;
}
