#include "pico/faults.h"

// jpeglib.h needs FILE and size_t.
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace minicpm::pico {
namespace {

constexpr int kTable = 4096;

/// Standard normal numbers times 32, drawn once.
const std::array<int16_t, kTable>& normal_table() {
  static const std::array<int16_t, kTable> table = [] {
    std::array<int16_t, kTable> values;
    Random random(0x6e6f697365);
    for (int16_t& value : values) {
      const float radius = std::sqrt(-2.0f * std::log(1.0f - random.uniform()));
      value = static_cast<int16_t>(std::lround(32.0f * radius * std::cos(6.2831853f * random.uniform())));
    }
    return values;
  }();
  return table;
}

/// One pass over `count` runs of `length` pixels that lie `step` bytes apart. Weights are in 1/256.
void blur_runs(uint8_t* data, int count, size_t run_step, int length, size_t step, const std::vector<int>& weights) {
  const int radius = static_cast<int>(weights.size()) - 1;
  std::vector<uint8_t> line(static_cast<size_t>(length + 2 * radius) * 3);
  for (int run = 0; run < count; ++run) {
    uint8_t* base = data + static_cast<size_t>(run) * run_step;
    for (int i = -radius; i < length + radius; ++i) {
      const uint8_t* from = base + static_cast<size_t>(std::clamp(i, 0, length - 1)) * step;
      std::copy_n(from, 3, &line[static_cast<size_t>(i + radius) * 3]);
    }
    for (int i = 0; i < length; ++i) {
      const uint8_t* middle = &line[static_cast<size_t>(i + radius) * 3];
      for (int c = 0; c < 3; ++c) {
        int sum = 128 + weights[0] * middle[c];
        for (int k = 1; k <= radius; ++k)
          sum += weights[static_cast<size_t>(k)] * (middle[c - 3 * k] + middle[c + 3 * k]);
        base[static_cast<size_t>(i) * step + static_cast<size_t>(c)] = static_cast<uint8_t>(std::min(sum >> 8, 255));
      }
    }
  }
}

}  // namespace

void blur(Image& image, float sigma) {
  const int radius = std::max(1, static_cast<int>(std::ceil(2.5f * sigma)));
  std::vector<float> gauss;
  float total = 0;
  for (int k = 0; k <= radius; ++k) {
    gauss.push_back(std::exp(-0.5f * static_cast<float>(k * k) / (sigma * sigma)));
    total += (k == 0 ? 1 : 2) * gauss.back();
  }
  std::vector<int> weights;
  int rest = 256;
  for (int k = 1; k <= radius; ++k) {
    weights.push_back(static_cast<int>(std::lround(256 * gauss[static_cast<size_t>(k)] / total)));
    rest -= 2 * weights.back();
  }
  weights.insert(weights.begin(), rest);
  const size_t row = static_cast<size_t>(image.width) * 3;
  blur_runs(image.rgb.data(), image.height, row, image.width, 3, weights);
  blur_runs(image.rgb.data(), image.width, 3, image.height, row, weights);
}

void add_noise(Image& image, float deviation, Random& random) {
  const auto& table = normal_table();
  const int scale = static_cast<int>(std::lround(deviation * 8));  // table has factor 32: product >> 8
  const size_t row = static_cast<size_t>(image.width) * 3;
  const bool gray = random.chance(0.4f);
  for (int y = 0; y < image.height; ++y) {
    uint8_t* pixels = image.rgb.data() + static_cast<size_t>(y) * row;
    auto at = static_cast<size_t>(random.below(kTable));
    for (size_t i = 0; i < row; ++i) {
      const int value = pixels[i] + ((table[at % kTable] * scale + 128) >> 8);
      pixels[i] = static_cast<uint8_t>(std::clamp(value, 0, 255));
      if (!gray || i % 3 == 2) ++at;
    }
  }
}

void pass_jpeg(Image& image, int quality) {
  const size_t row = static_cast<size_t>(image.width) * 3;
  jpeg_error_mgr errors;  // cannot fail on a valid picture in memory
  jpeg_compress_struct out = {};
  out.err = jpeg_std_error(&errors);
  jpeg_create_compress(&out);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&out, &bytes, &size);
  out.image_width = static_cast<JDIMENSION>(image.width);
  out.image_height = static_cast<JDIMENSION>(image.height);
  out.input_components = 3;
  out.in_color_space = JCS_RGB;
  jpeg_set_defaults(&out);
  jpeg_set_quality(&out, quality, TRUE);
  jpeg_start_compress(&out, TRUE);
  while (out.next_scanline < out.image_height) {
    JSAMPROW line = image.rgb.data() + out.next_scanline * row;
    jpeg_write_scanlines(&out, &line, 1);
  }
  jpeg_finish_compress(&out);
  jpeg_destroy_compress(&out);

  jpeg_decompress_struct in = {};
  in.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&in);
  jpeg_mem_src(&in, bytes, size);
  jpeg_read_header(&in, TRUE);
  in.out_color_space = JCS_RGB;
  jpeg_start_decompress(&in);
  while (in.output_scanline < in.output_height) {
    JSAMPROW line = image.rgb.data() + in.output_scanline * row;
    jpeg_read_scanlines(&in, &line, 1);
  }
  jpeg_finish_decompress(&in);
  jpeg_destroy_decompress(&in);
  std::free(bytes);
}

}  // namespace minicpm::pico
