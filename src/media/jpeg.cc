// JPEG through libjpeg-turbo, with the settings of Pillow: accurate integer DCT, smooth ("fancy") upsampling, colours
// converted by the library. Like Pillow we show damaged data as far as the library can read it, but refuse a file that
// ends early.
#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE
#include <cstring>

#include <jpeglib.h>

#include "base/error.h"
#include "base/log.h"
#include "media/decoders.h"

namespace minicpm {
namespace {

// Progressive files of real encoders have about ten scans. Each costs a pass over all coefficients, so thousands of
// empty ones would keep a small file busy for hours.
constexpr int kMaxScans = 256;

// Outcomes of a call into the library, which leaves by longjmp when it fails.
enum class Outcome { kOk, kEndsEarly, kFailed };

struct JpegErrors {
  jpeg_error_mgr base;  // first member: the library hands out pointers to it
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];  // of the error, or of the first warning
};

struct ScanLimit {
  jpeg_progress_mgr base;  // first member
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // trace messages
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  if (info->err->num_warnings++ == 0) info->err->format_message(info, errors->message);
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMaxScans);
  std::longjmp(errors->escape, 1);
}

// The whole file is in memory. When it is used up, the library is told to wait, which shows as kEndsEarly.
void source_nothing(j_decompress_ptr) {}
boolean source_fill(j_decompress_ptr) {
  return FALSE;
}
void source_skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  const size_t step = std::min(static_cast<size_t>(count), info->src->bytes_in_buffer);
  info->src->next_input_byte += step;
  info->src->bytes_in_buffer -= step;
}

/// Holds the library's state. Functions that call setjmp keep nothing with a destructor alive across library calls.
class JpegReader {
 public:
  explicit JpegReader(const ImageFile& file) {
    std::memset(&info_, 0, sizeof info_);
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    errors_.message[0] = '\0';
    source_.init_source = source_nothing;
    source_.fill_input_buffer = source_fill;
    source_.skip_input_data = source_skip;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = source_nothing;
    source_.next_input_byte = file.data();
    source_.bytes_in_buffer = file.bytes.size();
    progress_.base.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Outcome read_header() {
    if (setjmp(errors_.escape)) return Outcome::kFailed;
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    info_.progress = &progress_.base;
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);  // EXIF
    int status;
    do {
      status = jpeg_read_header(&info_, FALSE);
    } while (status == JPEG_HEADER_TABLES_ONLY);
    return status == JPEG_SUSPENDED ? Outcome::kEndsEarly : Outcome::kOk;
  }

  /// `space` is the colour space of the decoded samples.
  Outcome start(J_COLOR_SPACE space) {
    if (setjmp(errors_.escape)) return Outcome::kFailed;
    info_.out_color_space = space;
    return jpeg_start_decompress(&info_) ? Outcome::kOk : Outcome::kEndsEarly;
  }

  Outcome read_row(uint8_t* samples) {
    if (setjmp(errors_.escape)) return Outcome::kFailed;
    JSAMPROW row = samples;
    return jpeg_read_scanlines(&info_, &row, 1) == 1 ? Outcome::kOk : Outcome::kEndsEarly;
  }

  Outcome finish() {
    if (setjmp(errors_.escape)) return Outcome::kFailed;
    jpeg_finish_decompress(&info_);  // without the end mark it waits for more data, but every row is there
    return Outcome::kOk;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  const char* message() const { return errors_.message; }
  bool has_warnings() const { return errors_.base.num_warnings > 0; }

 private:
  jpeg_decompress_struct info_;
  JpegErrors errors_;
  jpeg_source_mgr source_;
  ScanLimit progress_ = {};
};

void require(Outcome outcome, const ImageFile& file, const JpegReader& reader) {
  if (outcome == Outcome::kEndsEarly) {
    fail(ErrorCode::kBadFile, "{}: the JPEG data ends early, in row {} of {}", file.name, reader.info().output_scanline,
         reader.info().image_height);
  }
  if (outcome == Outcome::kFailed) fail(ErrorCode::kBadFile, "{}: damaged JPEG data: {}", file.name, reader.message());
}

std::vector<uint8_t> find_exif(const jpeg_decompress_struct& info) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view content(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (content.starts_with(kPrefix)) return {marker->data + kPrefix.size(), marker->data + marker->data_length};
  }
  return {};
}

/// The samples are inverted ink amounts, as Adobe programs write them; Pillow takes every four-colour JPEG so.
void convert_inverted_cmyk(const uint8_t* cmyk, int width, uint8_t* out) {
  for (int x = 0; x < width; ++x, cmyk += 4, out += 3) {
    const int white = cmyk[3];  // what black leaves
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * white + 128;
      out[c] = static_cast<uint8_t>(std::max(0, white - ((product + (product >> 8)) >> 8)));  // product / 255, rounded
    }
  }
}

void decode_rows(const ImageFile& file, JpegReader& reader, Image* image) {
  const ColorTable grey = ColorTable::grey();
  std::vector<uint8_t> cmyk;
  J_COLOR_SPACE space = JCS_RGB;
  if (reader.info().num_components == 1) space = JCS_GRAYSCALE;
  if (reader.info().num_components == 4) {
    space = JCS_CMYK;
    cmyk.resize(static_cast<size_t>(image->width) * 4);
  }
  require(reader.start(space), file, reader);
  for (int y = 0; y < image->height; ++y) {
    uint8_t* row = image->rgb.data() + static_cast<size_t>(y) * image->width * 3;
    require(reader.read_row(space == JCS_CMYK ? cmyk.data() : row), file, reader);
    if (space == JCS_GRAYSCALE) expand_indices(row, grey, image->width, row);
    if (space == JCS_CMYK) convert_inverted_cmyk(cmyk.data(), image->width, row);
  }
  require(reader.finish(), file, reader);
}

}  // namespace

DecodedFile decode_jpeg(const ImageFile& file) {
  JpegReader reader(file);
  require(reader.read_header(), file, reader);
  const int components = reader.info().num_components;
  if (components != 1 && components != 3 && components != 4) {
    fail(ErrorCode::kUnsupported, "{}: the JPEG has {} colour components, expected 1, 3 or 4", file.name, components);
  }
  DecodedFile result{allocate_image(file, reader.info().image_width, reader.info().image_height),
                     find_exif(reader.info())};
  decode_rows(file, reader, &result.image);
  if (reader.has_warnings()) log_warning("{}: the JPEG data is damaged: {}", file.name, reader.message());
  return result;
}

}  // namespace minicpm
