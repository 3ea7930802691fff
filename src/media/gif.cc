// The first frame of a GIF, through giflib.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/error.h"
#include "media/decoders.h"

namespace minicpm {
namespace {

struct Cursor {
  const uint8_t* data;
  size_t size;
};

int read_bytes(GifFileType* gif, GifByteType* out, int count) {
  auto* cursor = static_cast<Cursor*>(gif->UserData);
  const size_t step = std::min(static_cast<size_t>(std::max(count, 0)), cursor->size);
  if (step > 0) std::memcpy(out, cursor->data, step);
  cursor->data += step;
  cursor->size -= step;
  return static_cast<int>(step);
}

struct GifCloser {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, GifCloser>;

[[noreturn]] void fail_damaged(const ImageFile& file, int error) {
  const char* text = GifErrorString(error);
  fail(ErrorCode::kBadFile, "{}: damaged GIF data: {}", file.name, text != nullptr ? text : "the file ends early");
}

/// Passes over extensions up to the first frame and its description. Returns the transparent index if there is one.
std::optional<int> read_frame_header(const ImageFile& file, GifFileType* gif) {
  std::optional<int> transparent;
  for (;;) {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &type) == GIF_ERROR) fail_damaged(file, gif->Error);
    if (type == TERMINATE_RECORD_TYPE) fail(ErrorCode::kBadFile, "{}: the GIF holds no picture", file.name);
    if (type == IMAGE_DESC_RECORD_TYPE) {
      if (DGifGetImageDesc(gif) == GIF_ERROR) fail_damaged(file, gif->Error);
      return transparent;
    }
    int code = 0;
    GifByteType* block = nullptr;  // its length, then its bytes
    if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) fail_damaged(file, gif->Error);
    while (block != nullptr) {
      if (code == GRAPHICS_EXT_FUNC_CODE && block[0] >= 4) {
        transparent = block[1] & 1 ? std::optional<int>(block[4]) : std::nullopt;
      }
      if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) fail_damaged(file, gif->Error);
    }
  }
}

ColorTable frame_colors(const GifFileType* gif) {
  const ColorMapObject* map = gif->Image.ColorMap != nullptr ? gif->Image.ColorMap : gif->SColorMap;
  ColorTable colors = ColorTable::grey();
  if (map == nullptr) return colors;
  for (int i = 0; i < std::min(map->ColorCount, 256); ++i) {
    colors.set(i, map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue);
  }
  return colors;
}

/// The order in which the rows of a frame are stored.
std::vector<int> row_order(int height, bool interlaced) {
  std::vector<int> rows;
  rows.reserve(height);
  if (!interlaced) {
    for (int y = 0; y < height; ++y)
      rows.push_back(y);
    return rows;
  }
  constexpr struct { int first, step; } kPasses[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (const auto& pass : kPasses) {
    for (int y = pass.first; y < height; y += pass.step)
      rows.push_back(y);
  }
  return rows;
}

}  // namespace

DecodedFile decode_gif(const ImageFile& file) {
  Cursor cursor{file.data(), file.bytes.size()};
  int error = 0;
  const Gif gif(DGifOpen(&cursor, read_bytes, &error));
  if (gif == nullptr) fail_damaged(file, error);
  const std::optional<int> transparent = read_frame_header(file, gif.get());

  const GifImageDesc& frame = gif->Image;
  if (frame.Width <= 0 || frame.Height <= 0 || frame.Left < 0 || frame.Top < 0) {
    fail(ErrorCode::kBadFile, "{}: the first frame has {}x{} pixels, expected at least 1x1", file.name, frame.Width,
         frame.Height);
  }
  // A frame that reaches beyond the screen enlarges it.
  Image image = allocate_image(file, std::max(gif->SWidth, frame.Left + frame.Width),
                               std::max(gif->SHeight, frame.Top + frame.Height));
  const ColorTable colors = frame_colors(gif.get());

  // The screen around the frame shows the transparent colour, or index 0.
  std::vector<uint8_t> indices(image.width, static_cast<uint8_t>(transparent.value_or(0)));
  const bool covers_screen = frame.Width == image.width && frame.Height == image.height;
  for (int y = 0; y < image.height && !covers_screen; ++y) {
    expand_indices(indices.data(), colors, image.width, image.rgb.data() + static_cast<size_t>(y) * image.width * 3);
  }
  for (const int y : row_order(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif.get(), indices.data(), frame.Width) == GIF_ERROR) fail_damaged(file, gif->Error);
    const size_t first = static_cast<size_t>(frame.Top + y) * image.width + frame.Left;
    expand_indices(indices.data(), colors, frame.Width, image.rgb.data() + first * 3);
  }
  return {std::move(image), {}};
}

}  // namespace minicpm
