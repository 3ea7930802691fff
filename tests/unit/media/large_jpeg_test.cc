// Large JPEG files are read by two readers at once; what comes out is what one alone gives.
#include <cstdio>  // jpeglib.h needs FILE

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "unit/media/test_pictures.h"

namespace minicpm {
namespace {

struct Form {
  const char* name;
  int width, height;
  int across = 2, down = 2;  // colours are stored at this fraction of the resolution
  int components = 3;
  int restart_rows = 0;
  bool progressive = false;
};

constexpr Form kForms[] = {
    {"halved", 1201, 907},
    {"halved_even", 1280, 960},
    {"halved_across", 1103, 960, 2, 1},
    {"halved_down", 1024, 1031, 1, 2},
    {"full", 1031, 1100, 1, 1},
    {"grey", 1500, 803, 1, 1, 1},
    {"inks", 1100, 1000, 1, 1, 4},
    {"restarts", 1201, 907, 2, 2, 3, 3},
    {"progressive", 1201, 907, 2, 2, 3, 0, true},
    {"low", 20000, 60},
    {"lowest_that_is_cut", 20000, 64},
};

std::string encode(const Form& form) {
  const Image image = soft_image(form.width * form.components / 3 + 1, form.height, 11);
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = static_cast<JDIMENSION>(form.width);
  info.image_height = static_cast<JDIMENSION>(form.height);
  info.input_components = form.components;
  info.in_color_space = form.components == 1 ? JCS_GRAYSCALE : form.components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  info.comp_info[0].h_samp_factor = form.across;
  info.comp_info[0].v_samp_factor = form.down;
  info.restart_in_rows = form.restart_rows;
  if (form.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < form.height; ++y) {
    JSAMPROW row = const_cast<uint8_t*>(image.row(y));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  std::free(data);
  return bytes;
}

/// Inverted amounts of ink as RGB, rounded as Pillow rounds.
std::vector<uint8_t> without_inks(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> rgb;
  for (size_t i = 0; i < cmyk.size(); i += 4) {
    for (size_t c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[i + c]) * cmyk[i + 3] + 128;
      rgb.push_back(static_cast<uint8_t>(std::max(0, cmyk[i + 3] - (((product >> 8) + product) >> 8))));
    }
  }
  return rgb;
}

/// By one reader of the library, row after row, whatever it warns about.
std::vector<uint8_t> read_alone(const std::string& file) {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  errors.emit_message = [](j_common_ptr, int) {};
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&info, TRUE);
  info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  const size_t stride = static_cast<size_t>(info.output_width) * static_cast<size_t>(info.output_components);
  std::vector<uint8_t> samples(stride * info.output_height);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = samples.data() + info.output_scanline * stride;
    jpeg_read_scanlines(&info, &row, 1);
  }
  const bool inks = info.num_components == 4;
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return inks ? without_inks(samples) : samples;
}

class LargeJpeg : public testing::TestWithParam<Form> {};
INSTANTIATE_TEST_SUITE_P(Forms, LargeJpeg, testing::ValuesIn(kForms),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_P(LargeJpeg, IsReadAsByOneReader) {
  const std::string file = encode(GetParam());
  const Image image = decode_image(as_file(file), "large");
  EXPECT_EQ(image.width, GetParam().width);
  EXPECT_EQ(image.height, GetParam().height);
  EXPECT_TRUE(image.rgb == read_alone(file));
}

TEST_P(LargeJpeg, ShowsTheSameWhenDamaged) {
  const std::string file = encode(GetParam());
  // Above and below the place where it is cut in two.
  for (const double place : {0.4, 0.9}) {
    std::string damaged = file;
    const auto at = static_cast<size_t>(static_cast<double>(file.size()) * place);
    for (size_t i = at; i < at + 40; ++i)
      damaged[i] = static_cast<char>(damaged[i] ^ 0x55) == '\xff' ? '\x00' : static_cast<char>(damaged[i] ^ 0x55);
    EXPECT_TRUE(decode_image(as_file(damaged), "damaged").rgb == read_alone(damaged)) << place;
  }
}

TEST_P(LargeJpeg, IsRefusedWhenItEndsEarly) {
  const std::string file = encode(GetParam());
  for (const double share : {0.3, 0.8}) {
    const std::string cut = file.substr(0, static_cast<size_t>(static_cast<double>(file.size()) * share));
    const Error error = decode_error(as_file(cut), "cut");
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), testing::HasSubstr("ends early"));
  }
}

}  // namespace
}  // namespace minicpm
