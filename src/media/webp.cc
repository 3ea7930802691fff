// WebP through libwebp. Of an animation the first frame is shown; its container is taken apart here, because a frame is
// an ordinary VP8 or VP8L stream.
#include <webp/decode.h>

#include <cstring>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "media/decoders.h"

namespace minicpm {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kRiffHeaderBytes = 12;   // "RIFF", size, "WEBP"
constexpr size_t kChunkHeaderBytes = 8;   // name, size
constexpr size_t kFrameHeaderBytes = 16;  // x/2, y/2, width-1, height-1, duration (24 bits each), flags
constexpr size_t kCanvasBytes = 10;       // flags, 24 bits reserved, width-1, height-1 (24 bits each)

/// The content of the first chunk of that name in a row of chunks, from `at` on.
std::optional<Bytes> find_chunk(Bytes chunks, size_t at, std::string_view name) {
  while (range_inside(at, kChunkHeaderBytes, chunks.size())) {
    const uint8_t* header = chunks.data() + at;
    const uint64_t size = read_u32le(header + 4);
    at += kChunkHeaderBytes;
    if (!range_inside(at, size, chunks.size())) break;
    if (std::memcmp(header, name.data(), 4) == 0) return chunks.subspan(at, size);
    at += size + size % 2;  // chunks are padded to even sizes
  }
  return std::nullopt;
}

struct Frame {
  uint32_t x = 0, y = 0, width = 0, height = 0;
  Bytes stream;
};

Frame first_frame(const ImageFile& file, Bytes content) {
  const std::optional<Bytes> chunk = find_chunk(content, kRiffHeaderBytes, "ANMF");
  if (!chunk || chunk->size() < kFrameHeaderBytes) {
    fail(ErrorCode::kBadFile, "{}: damaged WebP data: no complete frame in the animation", file.name);
  }
  const uint8_t* header = chunk->data();
  Frame frame{
      2 * read_u24le(header), 2 * read_u24le(header + 3), read_u24le(header + 6) + 1, read_u24le(header + 9) + 1, {}};
  // A lossy frame may carry its alpha in a chunk of its own, which is not needed.
  std::optional<Bytes> stream = find_chunk(*chunk, kFrameHeaderBytes, "VP8 ");
  if (!stream) stream = find_chunk(*chunk, kFrameHeaderBytes, "VP8L");
  if (!stream) fail(ErrorCode::kBadFile, "{}: damaged WebP data: the first frame has no pixels", file.name);
  frame.stream = *stream;
  return frame;
}

/// Decodes a still stream to `out`, the place of its first pixel in a picture whose rows are `stride` bytes apart.
void decode_still(const ImageFile& file, Bytes stream, uint8_t* out, size_t out_bytes, int stride) {
  if (WebPDecodeRGBInto(stream.data(), stream.size(), out, out_bytes, stride) == nullptr) {
    fail(ErrorCode::kBadFile, "{}: damaged WebP data: the picture cannot be decoded, or ends early", file.name);
  }
}

Image decode_animation(const ImageFile& file, Bytes content) {
  const std::optional<Bytes> canvas = find_chunk(content, kRiffHeaderBytes, "VP8X");
  if (!canvas || canvas->size() < kCanvasBytes) {
    fail(ErrorCode::kBadFile, "{}: damaged WebP data: an animation without a canvas size", file.name);
  }
  const uint32_t width = read_u24le(canvas->data() + 4) + 1, height = read_u24le(canvas->data() + 7) + 1;
  const Frame frame = first_frame(file, content);
  int stream_width = 0, stream_height = 0;
  const bool has_size = WebPGetInfo(frame.stream.data(), frame.stream.size(), &stream_width, &stream_height) != 0;
  if (!has_size || stream_width != static_cast<int64_t>(frame.width) ||
      stream_height != static_cast<int64_t>(frame.height) || !range_inside(frame.x, frame.width, width) ||
      !range_inside(frame.y, frame.height, height)) {
    fail(
        ErrorCode::kBadFile,
        "{}: damaged WebP data: the first frame ({}x{} at {},{}) does not fit its stream ({}x{}) or the canvas ({}x{})",
        file.name, frame.width, frame.height, frame.x, frame.y, stream_width, stream_height, width, height);
  }
  Image image = allocate_image(file, width, height);  // black where the frame leaves the canvas free
  const size_t first = (static_cast<size_t>(frame.y) * width + frame.x) * 3;
  decode_still(file, frame.stream, image.rgb.data() + first, image.rgb.size() - first, image.width * 3);
  return image;
}

}  // namespace

DecodedFile decode_webp(const ImageFile& file) {
  const Bytes content(file.data(), file.bytes.size());
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(content.data(), content.size(), &features);
  if (status != VP8_STATUS_OK) {
    fail(ErrorCode::kBadFile, "{}: damaged WebP data: {}", file.name,
         status == VP8_STATUS_NOT_ENOUGH_DATA ? "the file ends early" : "the header cannot be read");
  }
  DecodedFile result;
  if (const std::optional<Bytes> exif = find_chunk(content, kRiffHeaderBytes, "EXIF")) {
    result.exif.assign(exif->begin(), exif->end());
  }
  if (features.has_animation) {
    result.image = decode_animation(file, content);
    return result;
  }
  result.image = allocate_image(file, features.width, features.height);
  decode_still(file, content, result.image.rgb.data(), result.image.rgb.size(), result.image.width * 3);
  return result;
}

}  // namespace minicpm
