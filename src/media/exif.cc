// The orientation tag of EXIF blocks, and turning pictures by it.
#include <libexif/exif-data.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "media/decoders.h"

namespace minicpm {
namespace {

// Blocks in JPEG files have at most 64 KiB; nothing of use is larger.
constexpr size_t kMaxExifBytes = 1 << 20;

struct ExifDeleter {
  void operator()(ExifData* data) const { exif_data_unref(data); }
};

/// Where the upright picture's pixel comes from: the stored picture is first mirrored left-right, then transposed, then
/// turned by half a circle, each if set.
struct Turn {
  bool mirror, transpose, half;
};
// Rows are the tag values 1..8: the position of row 0 and column 0 of the stored picture is top-left, top-right,
// bottom-right, bottom-left, left-top, right-top, right-bottom, left-bottom.
constexpr Turn kTurns[8] = {
    {false, false, false}, {true, false, false}, {false, false, true}, {true, false, true},
    {false, true, false},  {true, true, true},   {false, true, true},  {true, true, false},
};

}  // namespace

int exif_orientation(std::span<const uint8_t> exif) {
  if (exif.empty() || exif.size() > kMaxExifBytes) return 1;
  static constexpr uint8_t kPrefix[6] = {'E', 'x', 'i', 'f', 0, 0};
  std::vector<uint8_t> block;
  const bool has_prefix =
      exif.size() >= sizeof kPrefix && std::equal(std::begin(kPrefix), std::end(kPrefix), exif.begin());
  if (!has_prefix)
    block.assign(std::begin(kPrefix), std::end(kPrefix));  // the library wants it; some WebP files have it
  block.insert(block.end(), exif.begin(), exif.end());

  const std::unique_ptr<ExifData, ExifDeleter> data(exif_data_new());
  if (data == nullptr) return 1;
  exif_data_unset_option(data.get(), EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);  // take the tags as they are
  exif_data_load_data(data.get(), block.data(), static_cast<unsigned int>(block.size()));
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (entry == nullptr || entry->format != EXIF_FORMAT_SHORT || entry->components < 1 || entry->size < 2) return 1;
  const int value = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return value >= 1 && value <= 8 ? value : 1;
}

Image apply_orientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const Turn turn = kTurns[orientation - 1];
  Image upright{turn.transpose ? image.height : image.width, turn.transpose ? image.width : image.height, {}};
  upright.rgb.resize(image.rgb.size());
  uint8_t* out = upright.rgb.data();
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x, out += 3) {
      int source_x = turn.half ? upright.width - 1 - x : x;
      int source_y = turn.half ? upright.height - 1 - y : y;
      if (turn.transpose) std::swap(source_x, source_y);
      if (turn.mirror) source_x = image.width - 1 - source_x;
      std::memcpy(out, image.row(source_y) + static_cast<size_t>(source_x) * 3, 3);
    }
  }
  return upright;
}

}  // namespace minicpm
