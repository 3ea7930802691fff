#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "unit/media/test_pictures.h"

namespace minicpm {
namespace {

/// The same filter straight from its definition, both passes in double without rounding between them.
std::vector<double> reference(const Image& image, int width, int height) {
  const auto kernel = [](double x) {
    x = std::abs(x);
    if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
    return x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0.0;
  };
  const auto pass = [&](const std::vector<double>& from, int in, int out, int lines, bool rows) {
    std::vector<double> to(static_cast<size_t>(out) * lines * 3);
    const double scale = double(in) / out, stretch = std::max(scale, 1.0);
    for (int i = 0; i < out; ++i) {
      const double center = (i + 0.5) * scale;
      const int first = std::max(0, static_cast<int>(center - 2 * stretch + 0.5));
      const int last = std::min(in, static_cast<int>(center + 2 * stretch + 0.5));
      double sum = 0;
      for (int t = first; t < last; ++t)
        sum += kernel((t + 0.5 - center) / stretch);
      for (int line = 0; line < lines; ++line) {
        for (int c = 0; c < 3; ++c) {
          double value = 0;
          for (int t = first; t < last; ++t) {
            const size_t at = rows ? static_cast<size_t>(line) * in + t : static_cast<size_t>(t) * lines + line;
            value += kernel((t + 0.5 - center) / stretch) / sum * from[at * 3 + c];
          }
          const size_t at = rows ? static_cast<size_t>(line) * out + i : static_cast<size_t>(i) * lines + line;
          // Samples are bytes between the passes too.
          to[at * 3 + c] = std::clamp(value, 0.0, 255.0);
        }
      }
    }
    return to;
  };
  std::vector<double> samples(image.rgb.begin(), image.rgb.end());
  samples = pass(samples, image.width, width, image.height, true);
  return pass(samples, image.height, height, width, false);
}

TEST(Resize, StaysWithinRoundingOfTheDefinition) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const Image image = noise_image(1 + random() % 70, 1 + random() % 70, random());
    const int width = 1 + random() % 90, height = 1 + random() % 90;
    const Image resized = resize_bicubic(image, width, height);
    ASSERT_EQ(resized.width, width);
    ASSERT_EQ(resized.height, height);
    const std::vector<double> expected = reference(image, width, height);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      worst = std::max(worst, std::abs(expected[i] - resized.rgb[i]));
    // Half a step of each of the two roundings; the first is stretched by the negative weights of the second.
    EXPECT_LE(worst, 1.3) << image.width << "x" << image.height << " to " << width << "x" << height;
  }
}

TEST(Resize, MakesSeveralSizesAtOnce) {
  std::mt19937 random(8);
  for (int round = 0; round < 30; ++round) {
    // The last ones are large enough for several threads.
    const int most = round < 26 ? 90 : 1300;
    const Image image = noise_image(1 + random() % most, 1 + random() % most, random());
    std::vector<Size> sizes = {{image.width, image.height}, {image.width, 17}, {19, image.height}};
    for (int i = 0; i < 3; ++i)
      sizes.push_back({static_cast<int>(1 + random() % 90), static_cast<int>(1 + random() % 90)});
    const std::vector<Image> resized = resize_bicubic(image, sizes);
    ASSERT_EQ(resized.size(), sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      const Image alone = resize_bicubic(image, sizes[i].width, sizes[i].height);
      ASSERT_EQ(resized[i].width, sizes[i].width);
      ASSERT_EQ(resized[i].height, sizes[i].height);
      EXPECT_TRUE(resized[i].rgb == alone.rgb) << sizes[i].width << "x" << sizes[i].height;
    }
  }
  EXPECT_TRUE(resize_bicubic(noise_image(3, 3, 1), std::span<const Size>()).empty());
}

TEST(Resize, EqualsPillow) {
  // Made from the noise below by Pillow 9.4's resize(size, BICUBIC).
  struct Row {
    int width, height, to_width, to_height;
    uint32_t crc32;
  };
  constexpr Row kRows[] = {
      {64, 48, 64, 48, 0xe40e964a},     {64, 48, 31, 48, 0x16f3b91f},   {64, 48, 64, 77, 0xc1a1d2b8},
      {37, 51, 364, 504, 0xe9df5550},   {301, 203, 98, 70, 0x132b699f}, {1000, 37, 84, 14, 0x65567ddc},
      {5, 7, 1, 1, 0xe165ae7d},         {9, 400, 14, 56, 0xf7247f4e},   {640, 480, 518, 392, 0xd71337ca},
      {448, 449, 448, 448, 0xe09c1f91},
  };
  for (const Row& row : kRows) {
    Image image{row.width, row.height, {}};
    uint32_t state = 1;  // a linear congruential generator, the same in any language
    for (int64_t i = 0; i < int64_t{row.width} * row.height * 3; ++i) {
      state = state * 1664525u + 1013904223u;
      image.rgb.push_back(static_cast<uint8_t>(state >> 24));
    }
    EXPECT_EQ(crc32_of(resize_bicubic(image, row.to_width, row.to_height).rgb), row.crc32)
        << row.width << "x" << row.height << " to " << row.to_width << "x" << row.to_height;
  }
}

TEST(Resize, TheSameSizeIsTheSamePicture) {
  const Image image = noise_image(33, 21, 1);
  EXPECT_EQ(resize_bicubic(image, 33, 21).rgb, image.rgb);
}

TEST(Resize, AFlatPictureStaysFlat) {
  for (const int level : {0, 1, 77, 254, 255}) {
    const Image flat{13, 9, std::vector<uint8_t>(13 * 9 * 3, static_cast<uint8_t>(level))};
    for (const auto& [width, height] : {std::pair{5, 4}, {40, 31}, {13, 2}, {1, 1}, {200, 9}}) {
      const Image resized = resize_bicubic(flat, width, height);
      EXPECT_TRUE(std::all_of(resized.rgb.begin(), resized.rgb.end(), [&](uint8_t v) { return v == level; }))
          << level << " at " << width << "x" << height;
    }
  }
}

TEST(Resize, ExtremeShapes) {
  EXPECT_EQ(resize_bicubic(noise_image(1, 1, 2), 300, 200).rgb.size(), 300u * 200 * 3);
  EXPECT_EQ(resize_bicubic(noise_image(65535, 1, 2), 14, 14).rgb.size(), 14u * 14 * 3);
  EXPECT_EQ(resize_bicubic(noise_image(1, 65535, 2), 14, 14).rgb.size(), 14u * 14 * 3);
  EXPECT_EQ(resize_bicubic(noise_image(2, 20000, 2), 14, 60004).rgb.size(), 14u * 60004 * 3);
}

}  // namespace
}  // namespace minicpm
