#include "media/image.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

#include "base/checked.h"
#include "base/error.h"
#include "base/file_map.h"
#include "base/machine.h"
#include "media/decoders.h"

namespace minicpm {
namespace {

/// One row per kind of file that is told by its first bytes. `decode` is null for kinds that are only recognised, so
/// that the message can name them.
struct Signature {
  const char* name;
  size_t offset;
  std::string_view magic;
  DecodedFile (*decode)(const ImageFile&);
};

constexpr std::string_view kReadable = "JPEG, PNG, WebP, BMP or GIF";

using namespace std::string_view_literals;
constexpr Signature kSignatures[] = {
    {"JPEG", 0, "\xff\xd8\xff"sv, decode_jpeg},
    {"PNG", 0, "\x89PNG\r\n\x1a\n"sv, decode_png},
    {"WebP", 8, "WEBPVP8"sv, decode_webp},
    {"GIF", 0, "GIF87a"sv, decode_gif},
    {"GIF", 0, "GIF89a"sv, decode_gif},
    {"BMP", 0, "BM"sv, decode_bmp},
    {"TIFF", 0, "II*\0"sv, nullptr},
    {"TIFF", 0, "MM\0*"sv, nullptr},
    {"HEIC", 4, "ftyphei"sv, nullptr},
    {"HEIF", 4, "ftypmif1"sv, nullptr},
    {"AVIF", 4, "ftypavif"sv, nullptr},
    {"JPEG XL", 0, "\xff\x0a"sv, nullptr},
    {"JPEG XL", 4, "JXL \r\n\x87\n"sv, nullptr},
    {"JPEG 2000", 4, "jP  \r\n\x87\n"sv, nullptr},
    {"PDF", 0, "%PDF-"sv, nullptr},
    {"SVG", 0, "<svg"sv, nullptr},
};

/// The first bytes for a message: as text when they are printable, otherwise in hex.
std::string describe_start(std::span<const std::byte> bytes) {
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const size_t n = std::min<size_t>(bytes.size(), 12);
  const bool printable = std::all_of(data, data + n, [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (printable) return fmt::format("\"{}\"", std::string_view(reinterpret_cast<const char*>(data), n));
  return fmt::format("bytes {:02x}", fmt::join(data, data + n, " "));
}

const Signature& recognise(const ImageFile& file) {
  const std::string_view content(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
  if (content.empty()) fail(ErrorCode::kBadFile, "{}: is empty, expected a picture ({})", file.name, kReadable);
  for (const Signature& row : kSignatures) {
    if (content.size() < row.offset || !content.substr(row.offset).starts_with(row.magic)) continue;
    if (row.decode == nullptr) {
      fail(ErrorCode::kUnsupported, "{}: is in the {} format, expected {}", file.name, row.name, kReadable);
    }
    return row;
  }
  fail(ErrorCode::kBadFile, "{}: is not a picture ({}): starts with {}", file.name, kReadable,
       describe_start(file.bytes));
}

}  // namespace

Image decode_image(std::span<const std::byte> bytes, std::string_view source, const DecodeOptions& options) {
  const ImageFile file{bytes, source, options.limits};
  if (bytes.size() > options.limits.max_file_bytes) {
    fail(ErrorCode::kUnsupported, "{}: has {} bytes, expected at most {}", source, bytes.size(),
         options.limits.max_file_bytes);
  }
  const Signature& format = recognise(file);
  try {
    DecodedFile decoded = format.decode(file);
    if (!options.apply_exif_orientation || decoded.exif.empty()) return std::move(decoded.image);
    return apply_orientation(std::move(decoded.image), exif_orientation(decoded.exif));
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "{}: no memory to decode this {} file", source, format.name);
  }
}

Image load_image(const std::filesystem::path& file, const DecodeOptions& options) {
  const std::string content = read_file(file, options.limits.max_file_bytes);
  return decode_image(std::as_bytes(std::span(content)), file.string(), options);
}

Image crop(const Image& image, int left, int top, int width, int height) {
  MINICPM_CHECK(left >= 0 && top >= 0 && width > 0 && height > 0);
  MINICPM_CHECK(width <= image.width - left && height <= image.height - top);
  Image result{width, height, {}};
  result.rgb.resize(static_cast<size_t>(width) * height * 3);
  const size_t row_bytes = static_cast<size_t>(width) * 3;
  for (int y = 0; y < height; ++y) {
    std::memcpy(result.rgb.data() + y * row_bytes, image.row(top + y) + static_cast<size_t>(left) * 3, row_bytes);
  }
  return result;
}

Image allocate_image(const ImageFile& file, uint64_t width, uint64_t height) {
  if (width == 0 || height == 0) {
    fail(ErrorCode::kBadFile, "{}: the header says {}x{} pixels, expected at least 1x1", file.name, width, height);
  }
  const std::optional<uint64_t> pixels = checked_mul(width, height);
  const uint64_t limit = std::min<uint64_t>(std::max<int64_t>(file.limits.max_pixels, 0), INT64_MAX / 3);
  if (width > INT_MAX / 3 || height > INT_MAX || !pixels || *pixels > limit) {
    fail(ErrorCode::kUnsupported, "{}: the header says {}x{} pixels, expected at most {} pixels", file.name, width,
         height, limit);
  }
  Image image{static_cast<int>(width), static_cast<int>(height), {}};
  const size_t bytes = static_cast<size_t>(*pixels) * 3;
  image.rgb.reserve(bytes);
  advise_large_pages(image.rgb.data(), bytes);  // before they are touched: a photograph has thousands of small ones
  image.rgb.resize(bytes);
  return image;
}

ColorTable ColorTable::grey() {
  ColorTable table;
  for (int i = 0; i < 256; ++i) {
    const auto level = static_cast<uint8_t>(i);
    table.set(i, level, level, level);
  }
  return table;
}

void ColorTable::set(int index, uint8_t r, uint8_t g, uint8_t b) {
  rgb[index * 3] = r;
  rgb[index * 3 + 1] = g;
  rgb[index * 3 + 2] = b;
}

void expand_indices(const uint8_t* indices, const ColorTable& colors, int width, uint8_t* out) {
  for (int x = width - 1; x >= 0; --x) {
    const uint8_t* color = colors.rgb + indices[x] * 3;
    uint8_t* pixel = out + static_cast<size_t>(x) * 3;
    const uint8_t r = color[0], g = color[1], b = color[2];
    pixel[0] = r;
    pixel[1] = g;
    pixel[2] = b;
  }
}

}  // namespace minicpm
