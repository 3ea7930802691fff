// Windows and OS/2 bitmaps: 1, 4, 8, 16, 24 and 32 bits a pixel, run lengths for 4 and 8 bits, colour masks.
#include <algorithm>
#include <array>
#include <bit>

#include "base/checked.h"
#include "base/error.h"
#include "media/decoders.h"

namespace minicpm {
namespace {

constexpr uint32_t kFileHeaderBytes = 14;
constexpr uint32_t kCoreHeaderBytes = 12;  // OS/2 version 1: 16-bit sizes, palette entries of 3 bytes
constexpr uint32_t kInfoHeaderBytes = 40;
constexpr uint32_t kOs22HeaderBytes = 64;  // OS/2 version 2

enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

struct BmpHeader {
  uint32_t header_bytes = 0;
  uint32_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0;  // per pixel
  uint32_t compression = kRaw;
  std::array<uint32_t, 3> masks = {};  // red, green, blue; for 16 and 32 bits
  uint64_t num_colors = 0;             // in the palette
  uint64_t palette_at = 0;
  uint64_t pixels_at = 0;
};

const uint8_t* require_bytes(const ImageFile& file, uint64_t at, uint64_t size, const char* what) {
  if (!range_inside(at, size, file.bytes.size())) {
    fail(ErrorCode::kBadFile, "{}: the BMP ends early: the {} needs {} bytes from {} on, the file has {}", file.name,
         what, size, at, file.bytes.size());
  }
  return file.data() + at;
}

/// The part of the header that all versions but OS/2 1 share.
void read_info_header(const ImageFile& file, const uint8_t* data, BmpHeader* header) {
  const auto width = static_cast<int32_t>(read_u32le(data + 4));
  const auto height = static_cast<int32_t>(read_u32le(data + 8));
  if (width <= 0 || height == 0) {
    fail(ErrorCode::kBadFile, "{}: the header says {}x{} pixels, expected at least 1x1", file.name, width, height);
  }
  header->width = static_cast<uint32_t>(width);
  header->top_down = height < 0;
  header->height = height < 0 ? 0u - static_cast<uint32_t>(height) : static_cast<uint32_t>(height);
  header->bits = read_u16le(data + 14);
  header->compression = read_u32le(data + 16);
  header->num_colors = read_u32le(data + 32);
  if (header->header_bytes == kOs22HeaderBytes && header->compression >= kBitFields) {
    fail(ErrorCode::kUnsupported, "{}: OS/2 BMP compression {}, expected 0, 1 or 2", file.name, header->compression);
  }
}

/// Places the masks, which follow a 40-byte header and lie inside longer ones. Returns the bytes they add.
uint32_t read_masks(const ImageFile& file, BmpHeader* header) {
  if (header->bits == 16) header->masks = {0x7c00, 0x3e0, 0x1f};
  if (header->bits == 32) header->masks = {0xff0000, 0xff00, 0xff};
  if (header->compression != kBitFields) return 0;
  if (header->bits != 16 && header->bits != 24 && header->bits != 32) {
    fail(ErrorCode::kUnsupported, "{}: BMP colour masks with {} bits, expected 16, 24 or 32", file.name, header->bits);
  }
  const uint8_t* data = require_bytes(file, kFileHeaderBytes + kInfoHeaderBytes, 12, "colour masks");
  const std::array<uint32_t, 3> masks = {read_u32le(data), read_u32le(data + 4), read_u32le(data + 8)};
  if (masks != std::array<uint32_t, 3>{}) header->masks = masks;  // all zero means the usual order
  for (const uint32_t mask : header->masks) {
    const bool in_one_piece = mask == 0 || std::has_single_bit((mask >> std::countr_zero(mask)) + uint64_t{1});
    if (!in_one_piece) fail(ErrorCode::kUnsupported, "{}: the BMP colour mask {:#x} has gaps", file.name, mask);
  }
  return header->header_bytes == kInfoHeaderBytes ? 12 : 0;
}

BmpHeader read_header(const ImageFile& file) {
  BmpHeader header;
  header.header_bytes = read_u32le(require_bytes(file, kFileHeaderBytes, 4, "header"));
  constexpr uint32_t kKnown[] = {kCoreHeaderBytes, kInfoHeaderBytes, 52, 56, kOs22HeaderBytes, 108, 124};
  if (std::find(std::begin(kKnown), std::end(kKnown), header.header_bytes) == std::end(kKnown)) {
    fail(ErrorCode::kUnsupported, "{}: BMP header of {} bytes, expected 12, 40, 52, 56, 64, 108 or 124", file.name,
         header.header_bytes);
  }
  const uint8_t* data = require_bytes(file, kFileHeaderBytes, header.header_bytes, "header");
  uint64_t entry_bytes = 4;
  if (header.header_bytes == kCoreHeaderBytes) {
    header.width = read_u16le(data + 4);
    header.height = read_u16le(data + 6);
    header.bits = read_u16le(data + 10);
    entry_bytes = 3;
  } else {
    read_info_header(file, data, &header);
  }
  const uint32_t bits = header.bits;
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    fail(ErrorCode::kUnsupported, "{}: BMP with {} bits a pixel, expected 1, 4, 8, 16, 24 or 32", file.name, bits);
  }
  const bool known_compression = header.compression == kRaw || header.compression == kBitFields ||
                                 (header.compression == kRle8 && bits == 8) ||
                                 (header.compression == kRle4 && bits == 4);
  if (!known_compression) {
    fail(ErrorCode::kUnsupported, "{}: BMP compression {} with {} bits a pixel", file.name, header.compression, bits);
  }
  header.palette_at = kFileHeaderBytes + header.header_bytes + read_masks(file, &header);
  if (header.num_colors == 0) header.num_colors = bits <= 8 ? uint64_t{1} << bits : 0;

  header.pixels_at = read_u32le(file.data() + 10);
  const uint64_t palette_end = header.palette_at + (bits <= 8 ? header.num_colors * entry_bytes : 0);
  // Some writers leave the offset at zero or let it point at the palette.
  if (header.pixels_at == 0 || (bits <= 8 && header.pixels_at == header.palette_at)) header.pixels_at = palette_end;
  return header;
}

ColorTable read_palette(const ImageFile& file, const BmpHeader& header) {
  const uint64_t entry_bytes = header.header_bytes == kCoreHeaderBytes ? 3 : 4;
  const uint64_t num_used = std::min<uint64_t>(header.num_colors, 256);
  const uint8_t* entry = require_bytes(file, header.palette_at, num_used * entry_bytes, "palette");
  ColorTable colors = ColorTable::grey();
  for (uint64_t i = 0; i < num_used; ++i, entry += entry_bytes) {
    colors.set(static_cast<int>(i), entry[2], entry[1], entry[0]);
  }
  return colors;
}

/// Spreads 1-, 4- or 8-bit indices to one a byte.
void unpack_indices(const uint8_t* row, uint32_t bits, int width, uint8_t* indices) {
  const uint32_t mask = (1u << bits) - 1, per_byte = 8 / bits;
  for (uint32_t x = 0; x < static_cast<uint32_t>(width); ++x) {
    indices[x] = static_cast<uint8_t>((row[x / per_byte] >> (8 - bits - x % per_byte * bits)) & mask);
  }
}

void unpack_masked(const uint8_t* row, const BmpHeader& header, uint8_t* out) {
  for (uint32_t x = 0; x < header.width; ++x) {
    const uint32_t pixel = header.bits == 16   ? read_u16le(row + size_t{x} * 2)
                           : header.bits == 24 ? read_u24le(row + size_t{x} * 3)
                                               : read_u32le(row + size_t{x} * 4);
    for (const uint32_t mask : header.masks) {
      // A channel of n bits is spread over 0..255; its quotient is cut off.
      const uint64_t top = mask == 0 ? 1 : mask >> std::countr_zero(mask);
      const uint64_t value = mask == 0 ? 0 : (pixel & mask) >> std::countr_zero(mask);
      *out++ = static_cast<uint8_t>(value * 255 / top);
    }
  }
}

void decode_raw(const ImageFile& file, const BmpHeader& header, Image* image) {
  const uint64_t stride = (uint64_t{header.width} * header.bits + 31) / 32 * 4;  // rows fill whole 32-bit words
  const uint8_t* pixels = require_bytes(file, header.pixels_at, stride * header.height, "picture");
  ColorTable colors = ColorTable::grey();
  if (header.bits <= 8) colors = read_palette(file, header);
  std::vector<uint8_t> indices(header.bits <= 8 ? header.width : 0);
  for (int y = 0; y < image->height; ++y) {
    const uint8_t* row = pixels + stride * (header.top_down ? y : image->height - 1 - y);
    uint8_t* out = image->rgb.data() + static_cast<size_t>(y) * image->width * 3;
    if (header.bits <= 8) {
      unpack_indices(row, header.bits, image->width, indices.data());
      expand_indices(indices.data(), colors, image->width, out);
    } else if (header.bits == 24 && header.compression == kRaw) {
      for (int x = 0; x < image->width; ++x, row += 3, out += 3)
        std::reverse_copy(row, row + 3, out);
    } else {
      unpack_masked(row, header, out);
    }
  }
}

/// Run lengths: pairs (count, colours), or 0 and a command. What the runs leave out has index 0. Runs that leave the
/// picture are cut off.
void decode_rle(const ImageFile& file, const BmpHeader& header, std::vector<uint8_t>* indices) {
  uint64_t at = header.pixels_at;
  const auto next = [&] { return *require_bytes(file, at++, 1, "picture"); };
  const bool nibbles = header.compression == kRle4;
  uint64_t x = 0, y = 0;
  const auto put = [&](uint8_t index) {
    if (x < header.width && y < header.height) (*indices)[y * header.width + x] = index;
    ++x;
  };
  while (y < header.height) {
    const uint8_t count = next(), value = next();
    if (count > 0) {
      for (int i = 0; i < count; ++i) {
        put(!nibbles ? value : i % 2 == 0 ? value >> 4 : value & 15);
      }
    } else if (value == 0) {  // end of line
      x = 0;
      ++y;
    } else if (value == 1) {  // end of picture
      return;
    } else if (value == 2) {  // move
      x += next();
      y += next();
    } else {  // `value` pixels as they are, padded to 16 bits
      const uint64_t start = at;
      uint8_t byte = 0;
      for (int i = 0; i < value; ++i) {
        if (!nibbles || i % 2 == 0) byte = next();
        put(!nibbles ? byte : i % 2 == 0 ? byte >> 4 : byte & 15);
      }
      at += (at - start) % 2;
    }
  }
}

}  // namespace

DecodedFile decode_bmp(const ImageFile& file) {
  const BmpHeader header = read_header(file);
  Image image = allocate_image(file, header.width, header.height);
  if (header.compression == kRaw || header.compression == kBitFields) {
    decode_raw(file, header, &image);
    return {std::move(image), {}};
  }
  const ColorTable colors = read_palette(file, header);
  std::vector<uint8_t> indices(static_cast<size_t>(image.width) * image.height);
  decode_rle(file, header, &indices);
  for (int y = 0; y < image.height; ++y) {
    const int stored_row = header.top_down ? y : image.height - 1 - y;
    expand_indices(indices.data() + static_cast<size_t>(stored_row) * image.width, colors, image.width,
                   image.rgb.data() + static_cast<size_t>(y) * image.width * 3);
  }
  return {std::move(image), {}};
}

}  // namespace minicpm
