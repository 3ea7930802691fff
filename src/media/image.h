// Pictures: decoding and Pillow-exact resampling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// 8-bit RGB, rows without gaps: [height, width, 3].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;
  const uint8_t* row(int y) const { return rgb.data() + static_cast<size_t>(y) * width * 3; }
};

struct Size {
  int width = 0;
  int height = 0;
  bool operator==(const Size&) const = default;
};

struct ImageLimits {
  int64_t max_pixels = 200'000'000;  // a header that claims more is refused before anything is allocated
  size_t max_file_bytes = 512u << 20;
};

struct DecodeOptions {
  bool apply_exif_orientation = true;  // the official code ignores the tag; see docs/images.md
  ImageLimits limits = {};
};

/// JPEG, PNG, WebP, BMP or GIF (first frame), told by content, converted to RGB as Pillow's convert("RGB") does: alpha
/// dropped, palette and grey expanded. `source` names the picture in messages. Throws Error bad_file, unsupported,
/// out_of_memory.
Image decode_image(std::span<const std::byte> bytes, std::string_view source, const DecodeOptions& options = {});
/// The same from a file; also throws not_found and io.
Image load_image(const std::filesystem::path& file, const DecodeOptions& options = {});

/// Pillow's resize with the BICUBIC filter (a = -0.5, support scaled when shrinking, 8-bit fixed point, horizontal pass
/// first): byte for byte the same. Sizes must be positive.
Image resize_bicubic(const Image& image, int width, int height);
/// The same for several sizes, which is faster than one after the other: the picture is read once.
std::vector<Image> resize_bicubic(const Image& image, std::span<const Size> sizes);
Image crop(const Image& image, int left, int top, int width, int height);

}  // namespace minicpm
