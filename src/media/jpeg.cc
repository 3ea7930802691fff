// JPEG through libjpeg-turbo, with the settings of Pillow: accurate integer DCT, smooth ("fancy") upsampling, colours
// converted by the library. Like Pillow we show damaged data as far as the library can read it, but refuse a file that
// ends early. Large pictures are read by two threads, each with a reader of its own.
#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE
#include <cstring>

#include <jpeglib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/thread_pool.h"
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

  /// The next rows are decoded no further than it takes to find the row behind them. At the data's end nothing happens,
  /// which the next read_row tells.
  Outcome skip_rows(int count) {
    if (setjmp(errors_.escape)) return Outcome::kFailed;
    const auto rows = static_cast<JDIMENSION>(count);
    return jpeg_skip_scanlines(&info_, rows) == rows ? Outcome::kOk : Outcome::kEndsEarly;
  }

  Outcome finish() {
    if (setjmp(errors_.escape)) return Outcome::kFailed;
    jpeg_finish_decompress(&info_);  // without the end mark it waits for more data, but every row is there
    return Outcome::kOk;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  bool has_several_scans() { return jpeg_has_multiple_scans(&info_); }
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

/// What stands between the library's samples and the rows of a picture.
class RowConverter {
 public:
  RowConverter(const JpegReader& reader, int width) : width_(width) {
    if (reader.info().num_components == 1) space_ = JCS_GRAYSCALE;
    if (reader.info().num_components != 4) return;
    space_ = JCS_CMYK;
    cmyk_.resize(static_cast<size_t>(width) * 4);
  }

  J_COLOR_SPACE space() const { return space_; }

  Outcome read_row(JpegReader& reader, uint8_t* row) {
    const Outcome outcome = reader.read_row(space_ == JCS_CMYK ? cmyk_.data() : row);
    if (outcome != Outcome::kOk) return outcome;
    if (space_ == JCS_GRAYSCALE) expand_indices(row, grey_, width_, row);
    if (space_ == JCS_CMYK) convert_inverted_cmyk(cmyk_.data(), width_, row);
    return outcome;
  }

 private:
  int width_;
  J_COLOR_SPACE space_ = JCS_RGB;
  ColorTable grey_ = ColorTable::grey();
  std::vector<uint8_t> cmyk_;
};

/// Rows [first, last) into `image`.
Outcome read_rows(JpegReader& reader, int first, int last, Image* image) {
  RowConverter converter(reader, image->width);
  Outcome outcome = reader.start(converter.space());
  if (outcome == Outcome::kOk && first > 0) outcome = reader.skip_rows(first);
  for (int y = first; outcome == Outcome::kOk && y < last; ++y)
    outcome = converter.read_row(reader, image->rgb.data() + static_cast<size_t>(y) * image->width * 3);
  if (outcome == Outcome::kOk && last == image->height) outcome = reader.finish();
  return outcome;
}

// Rows that are skipped still have their Huffman codes read, which takes about as long as all that follows: with the
// first reader doing this share of the rows, both take the same time.
constexpr double kFirstShare = 0.7;
constexpr int64_t kPixelsForTwo = 1 << 20;
constexpr int kSplitRows = 16;  // the tallest row of blocks

bool is_worth_two(JpegReader& reader, const Image& image) {
  // Progressive pictures have to be read to the end before any row is known.
  return usable_processors() > 1 && int64_t{image.width} * image.height >= kPixelsForTwo &&
         image.height >= 4 * kSplitRows && !reader.has_several_scans();
}

/// Reads the upper rows while a second reader reads the lower ones. False if anything was wrong, when it is for one
/// reader alone to say what, or to show what can be shown.
bool read_with_two(const ImageFile& file, Image* image) {
  const int middle = static_cast<int>(image->height * kFirstShare) / kSplitRows * kSplitRows;
  const int rows[] = {0, middle, image->height};
  bool is_good[2] = {};
  for_parts(2, 2, [&](int64_t part, int64_t) {
    JpegReader reader(file);
    is_good[part] = reader.read_header() == Outcome::kOk &&
                    read_rows(reader, rows[part], rows[part + 1], image) == Outcome::kOk && !reader.has_warnings();
  });
  return is_good[0] && is_good[1];
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
  if (is_worth_two(reader, result.image) && read_with_two(file, &result.image)) return result;
  require(read_rows(reader, 0, result.image.height, &result.image), file, reader);
  if (reader.has_warnings()) log_warning("{}: the JPEG data is damaged: {}", file.name, reader.message());
  return result;
}

}  // namespace minicpm
