// PNG through libpng. Samples become RGB as in Pillow's convert("RGB"): alpha and transparency marks are dropped,
// 16-bit colours keep their high byte, 16-bit grey is clipped at 255.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <png.h>

#include "base/checked.h"
#include "base/error.h"
#include "media/decoders.h"

namespace minicpm {
namespace {

constexpr size_t kSignatureBytes = 8;
constexpr size_t kChunkHeaderBytes = 8;  // length and type
constexpr size_t kChunkCrcBytes = 4;

/// Holds the library's state. Functions that call setjmp keep nothing with a destructor alive across library calls.
class PngReader {
 public:
  explicit PngReader(const ImageFile& file) : rest_(file.data()), rest_size_(file.bytes.size()) {
    message_[0] = '\0';
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      fail(ErrorCode::kOutOfMemory, "{}: no memory for the PNG decoder", file.name);
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Reads up to the pixel data and asks for samples that are either indices (palette, or grey of up to 8 bits), 16-bit
  /// grey, or 8-bit RGB. False on failure.
  bool read_header() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, this, read_bytes);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // allocate_image has judged the size
    // Everything but header, palette and pixels is passed over: profiles and texts may be bombs.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    color_type_ = png_get_color_type(png_, info_);
    bit_depth_ = png_get_bit_depth(png_, info_);
    if (bit_depth_ < 8) png_set_packing(png_);
    if (color_type_ & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png_);
    if (bit_depth_ == 16 && color_type_ != PNG_COLOR_TYPE_GRAY) png_set_strip_16(png_);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  /// Decodes each row to the start of its `row_bytes` bytes.
  bool read_rows(uint8_t* pixels, size_t row_bytes, int height) {
    MINICPM_CHECK(png_get_rowbytes(png_, info_) <= row_bytes);
    if (setjmp(png_jmpbuf(png_))) return false;
    for (int pass = 0; pass < passes_; ++pass) {
      for (int y = 0; y < height; ++y)
        png_read_row(png_, pixels + static_cast<size_t>(y) * row_bytes, nullptr);
    }
    return true;  // what follows the pixels does not matter
  }

  bool is_rgb() const { return (color_type_ & ~PNG_COLOR_MASK_ALPHA) == PNG_COLOR_TYPE_RGB; }
  bool is_grey16() const { return bit_depth_ == 16 && color_type_ == PNG_COLOR_TYPE_GRAY; }

  ColorTable colors() const {
    ColorTable table = ColorTable::grey();
    if (color_type_ == PNG_COLOR_TYPE_PALETTE) {
      png_colorp palette = nullptr;
      int size = 0;
      png_get_PLTE(png_, info_, &palette, &size);
      for (int i = 0; i < std::min(size, 256); ++i)
        table.set(i, palette[i].red, palette[i].green, palette[i].blue);
    } else if (bit_depth_ < 8) {
      const int top = (1 << bit_depth_) - 1;
      for (int i = 0; i <= top; ++i) {
        const auto level = static_cast<uint8_t>(i * 255 / top);
        table.set(i, level, level, level);
      }
    }
    return table;
  }

  const char* message() const { return message_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, sizeof reader->message_, "%s", text);
    png_longjmp(png, 1);
  }
  static void read_bytes(png_structp png, png_bytep out, size_t count) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader->rest_size_) png_error(png, "the file ends early");
    std::memcpy(out, reader->rest_, count);
    reader->rest_ += count;
    reader->rest_size_ -= count;
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  const uint8_t* rest_;
  size_t rest_size_;
  int color_type_ = 0;
  int bit_depth_ = 0;
  int passes_ = 1;
  char message_[128];
};

/// The content of the eXIf chunk, which may stand before or behind the pixels.
std::vector<uint8_t> find_exif(const ImageFile& file) {
  const uint64_t total = file.bytes.size();
  uint64_t at = kSignatureBytes;
  while (range_inside(at, kChunkHeaderBytes, total)) {
    const uint8_t* chunk = file.data() + at;
    const uint64_t size = read_u32be(chunk);
    if (!range_inside(at + kChunkHeaderBytes, size, total)) break;
    if (std::memcmp(chunk + 4, "eXIf", 4) == 0) {
      return {chunk + kChunkHeaderBytes, chunk + kChunkHeaderBytes + size};
    }
    at += kChunkHeaderBytes + size + kChunkCrcBytes;
  }
  return {};
}

void clip_grey16(const uint8_t* big_endian, int width, uint8_t* out) {
  for (int x = width - 1; x >= 0; --x) {  // from the right: both start at the same byte
    const uint8_t high = big_endian[2 * static_cast<size_t>(x)], low = big_endian[2 * static_cast<size_t>(x) + 1];
    const uint8_t level = high != 0 ? 255 : low;
    std::memset(out + static_cast<size_t>(x) * 3, level, 3);
  }
}

}  // namespace

DecodedFile decode_png(const ImageFile& file) {
  // The size stands at a fixed place, so that it can be judged before the library sees the file.
  constexpr size_t kHeaderEnd = kSignatureBytes + kChunkHeaderBytes + 8;
  if (file.bytes.size() < kHeaderEnd || std::memcmp(file.data() + kSignatureBytes + 4, "IHDR", 4) != 0) {
    fail(ErrorCode::kBadFile, "{}: damaged PNG data: no IHDR chunk at the start", file.name);
  }
  const uint8_t* size = file.data() + kSignatureBytes + kChunkHeaderBytes;
  DecodedFile result{allocate_image(file, read_u32be(size), read_u32be(size + 4)), find_exif(file)};
  Image& image = result.image;
  const size_t row_bytes = static_cast<size_t>(image.width) * 3;

  PngReader reader(file);
  if (!reader.read_header() || !reader.read_rows(image.rgb.data(), row_bytes, image.height)) {
    fail(ErrorCode::kBadFile, "{}: damaged PNG data: {}", file.name, reader.message());
  }
  if (reader.is_rgb()) return result;
  const ColorTable colors = reader.colors();
  for (int y = 0; y < image.height; ++y) {
    uint8_t* row = image.rgb.data() + static_cast<size_t>(y) * row_bytes;
    if (reader.is_grey16()) {
      clip_grey16(row, image.width, row);
    } else {
      expand_indices(row, colors, image.width, row);
    }
  }
  return result;
}

}  // namespace minicpm
