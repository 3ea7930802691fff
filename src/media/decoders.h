// One decoder per file format. Internal to media/: callers use decode_image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "media/image.h"

namespace minicpm {

/// A file in memory, with what messages and limits need.
struct ImageFile {
  std::span<const std::byte> bytes;
  std::string_view name;
  ImageLimits limits;

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes.data()); }
};

/// What a decoder returns: the stored pixels and the EXIF block (a TIFF structure, without the "Exif\0\0" that JPEG
/// puts in front; empty if there is none).
struct DecodedFile {
  Image image;
  std::vector<uint8_t> exif;
};

DecodedFile decode_jpeg(const ImageFile& file);
DecodedFile decode_png(const ImageFile& file);
DecodedFile decode_webp(const ImageFile& file);
DecodedFile decode_bmp(const ImageFile& file);
DecodedFile decode_gif(const ImageFile& file);

/// A black picture of the size that a header claims, which is judged first: bad_file for an empty one, unsupported
/// above the limits.
Image allocate_image(const ImageFile& file, uint64_t width, uint64_t height);

/// The orientation tag (1..8) of an EXIF block; 1, the upright one, where it is absent or damaged.
int exif_orientation(std::span<const uint8_t> exif);

/// Turns and mirrors the picture so that it stands upright.
Image apply_orientation(Image image, int orientation);

/// 256 colours, 3 bytes each, as palettes and grey levels are expanded.
struct ColorTable {
  uint8_t rgb[256 * 3];
  /// Entry i is the grey i. Pillow shows indices beyond the end of a palette so, and we do as it does.
  static ColorTable grey();
  void set(int index, uint8_t r, uint8_t g, uint8_t b);
};

/// Expands `width` indices to RGB. `out` may start at the same byte as `indices`: the work is done from the right.
void expand_indices(const uint8_t* indices, const ColorTable& colors, int width, uint8_t* out);

inline uint32_t read_u16le(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8;
}
inline uint32_t read_u24le(const uint8_t* p) {
  return read_u16le(p) | static_cast<uint32_t>(p[2]) << 16;
}
inline uint32_t read_u32le(const uint8_t* p) {
  return read_u16le(p) | read_u16le(p + 2) << 16;
}
inline uint32_t read_u32be(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 |
         p[3];
}

}  // namespace minicpm
