#include "media/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <webp/encode.h>

#include <filesystem>
#include <fstream>

#include "unit/media/sample_files.h"
#include "unit/media/test_pictures.h"

namespace minicpm {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr DecodeOptions kAsStored{.apply_exif_orientation = false};

std::string sample_name(const testing::TestParamInfo<SampleFile>& info) {
  return info.param.name;
}

class SampleFiles : public testing::TestWithParam<SampleFile> {};
INSTANTIATE_TEST_SUITE_P(All, SampleFiles, testing::ValuesIn(kSampleFiles), sample_name);

TEST_P(SampleFiles, AreDecodedAsByPillow) {
  const SampleFile& sample = GetParam();
  const Image image = decode_image(bytes_of(sample), sample.name, kAsStored);
  EXPECT_EQ(image.width, sample.width);
  EXPECT_EQ(image.height, sample.height);
  ASSERT_EQ(image.rgb.size(), static_cast<size_t>(sample.width) * sample.height * 3);
  EXPECT_EQ(crc32_of(image.rgb), sample.crc32) << sample.content;
}

const SampleFile& sample(std::string_view name) {
  for (const SampleFile& row : kSampleFiles) {
    if (row.name == name) return row;
  }
  throw std::out_of_range(std::string(name));
}

TEST(Orientation, IsAppliedByDefaultAndCanBeSwitchedOff) {
  const std::vector<std::byte> file = bytes_of(sample("jpeg_orientation_6"));
  const Image stored = decode_image(file, "turned.jpg", kAsStored);
  const Image upright = decode_image(file, "turned.jpg");
  ASSERT_EQ(upright.width, stored.height);
  ASSERT_EQ(upright.height, stored.width);
  // Value 6: the stored left edge is the top of the upright picture, its bottom end at the left.
  for (int x = 0; x < upright.width; ++x) {
    for (int y = 0; y < upright.height; ++y) {
      const uint8_t* expected = stored.row(stored.height - 1 - x) + y * 3;
      EXPECT_TRUE(std::equal(expected, expected + 3, upright.row(y) + x * 3)) << x << "," << y;
    }
  }
}

/// A BMP file of 24 bits a pixel, upside down as usual.
std::string bmp24(const Image& image) {
  const auto u32 = [](uint32_t v) {
    return std::string{static_cast<char>(v), static_cast<char>(v >> 8), static_cast<char>(v >> 16),
                       static_cast<char>(v >> 24)};
  };
  std::string file = "BM" + u32(0) + u32(0) + u32(54) + u32(40) + u32(image.width) + u32(image.height);
  file += std::string("\1\0\x18\0", 4) + u32(0) + u32(0) + u32(0) + u32(0) + u32(0) + u32(0);
  for (int y = image.height - 1; y >= 0; --y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = image.row(y) + x * 3;
      file += {static_cast<char>(p[2]), static_cast<char>(p[1]), static_cast<char>(p[0])};
    }
    file.resize((file.size() - 54 + 3) / 4 * 4 + 54);
  }
  return file;
}

TEST(DecodeImage, ReadsBackAnUncompressedBmp) {
  for (const int width : {1, 2, 3, 4, 17}) {
    const Image image = noise_image(width, 5, 3);
    EXPECT_EQ(decode_image(as_file(bmp24(image)), "a.bmp").rgb, image.rgb);
  }
}

TEST(DecodeImage, ReadsBackALosslessWebp) {
  const Image image = noise_image(31, 17, 4);
  uint8_t* encoded = nullptr;
  const size_t size = WebPEncodeLosslessRGB(image.rgb.data(), image.width, image.height, image.width * 3, &encoded);
  ASSERT_GT(size, 0u);
  EXPECT_EQ(decode_image(std::as_bytes(std::span(encoded, size)), "a.webp").rgb, image.rgb);
  WebPFree(encoded);
}

TEST(DecodeImage, NamesWhatIsNoPicture) {
  const Error text = decode_error(as_file("Hello world, this is text"), "x.jpg");
  EXPECT_EQ(text.code(), ErrorCode::kBadFile);
  EXPECT_STREQ(text.what(), "x.jpg: is not a picture (JPEG, PNG, WebP, BMP or GIF): starts with \"Hello world,\"");
  EXPECT_THAT(decode_error(as_file(std::string_view("\0\1\2\xff", 4)), "x.png").what(),
              HasSubstr("starts with bytes 00 01 02 ff"));
  EXPECT_THAT(decode_error({}, "x.png").what(), StartsWith("x.png: is empty"));
  const Error other = decode_error(as_file("%PDF-1.7 and more"), "scan.png");
  EXPECT_EQ(other.code(), ErrorCode::kUnsupported);
  EXPECT_STREQ(other.what(), "scan.png: is in the PDF format, expected JPEG, PNG, WebP, BMP or GIF");
}

TEST(DecodeImage, TellsTheFormatByContentNotByName) {
  EXPECT_EQ(decode_image(bytes_of(sample("png_grey2")), "picture.jpg").width, sample("png_grey2").width);
}

TEST(DecodeImage, KeepsThePixelLimitExactly) {
  for (const SampleFile& row : kSampleFiles) {
    const int64_t pixels = int64_t{row.width} * row.height;
    EXPECT_EQ(decode_image(bytes_of(row), row.name, {.limits = {.max_pixels = pixels}}).rgb.size(),
              static_cast<size_t>(pixels) * 3);
    const Error error = decode_error(bytes_of(row), row.name, {.limits = {.max_pixels = pixels - 1}});
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << row.name;
    EXPECT_THAT(error.what(), HasSubstr(fmt::format("{}x{} pixels", row.width, row.height)));
  }
}

TEST(DecodeImage, KeepsTheFileSizeLimit) {
  const std::vector<std::byte> file = bytes_of(sample("png_grey2"));
  EXPECT_NO_THROW(decode_image(file, "a.png", {.limits = {.max_file_bytes = file.size()}}));
  EXPECT_EQ(decode_error(file, "a.png", {.limits = {.max_file_bytes = file.size() - 1}}).code(),
            ErrorCode::kUnsupported);
}

TEST(LoadImage, ReadsAFileAndNamesItInErrors) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "minicpm_load_image_test.bin";
  const std::vector<std::byte> content = bytes_of(sample("gif_interlaced"));
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(content.data()), content.size());
  EXPECT_EQ(crc32_of(load_image(path).rgb), sample("gif_interlaced").crc32);
  std::ofstream(path, std::ios::binary) << "no picture";
  try {
    (void)load_image(path);
    FAIL() << "decoded text";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), StartsWith(path.string() + ": is not a picture"));
  }
  std::filesystem::remove(path);
  try {
    (void)load_image(path);
    FAIL() << "opened a file that does not exist";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

TEST(Crop, TakesTheBox) {
  const Image image = noise_image(9, 7, 5);
  const Image part = crop(image, 2, 3, 4, 2);
  ASSERT_EQ(part.width, 4);
  ASSERT_EQ(part.height, 2);
  for (int y = 0; y < 2; ++y) {
    for (int i = 0; i < 12; ++i)
      EXPECT_EQ(part.row(y)[i], image.row(3 + y)[6 + i]);
  }
  EXPECT_THROW((void)crop(image, 6, 0, 4, 1), Error);
}

}  // namespace
}  // namespace minicpm
