// Bicubic resampling, byte for byte as Pillow does it: weights are computed in double, normalised, and rounded to 22
// fractional bits; each pass sums in integers and rounds to a byte. Rows are shared out among threads, and the sizes
// that are made of one picture share the reading of it.
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include "base/clones.h"
#include "base/error.h"
#include "base/parallel.h"
#include "media/image.h"

namespace minicpm {
namespace {

// 32 bits less 8 for the sample and 2 for what negative weights add.
constexpr int kFractionBits = 32 - 8 - 2;
constexpr double kFilterRadius = 2.0;  // of the cubic, in pixels of the smaller picture

/// Keys' cubic with a = -0.5. The order of operations decides the last bit.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

/// The weights of one axis: output i is the sum of weights[begin[i] + t] * input[first[i] + t] over t.
struct Filter {
  std::vector<int> first;     // [out]
  std::vector<size_t> begin;  // [out + 1]
  std::vector<int32_t> weights;

  int taps(int i) const { return static_cast<int>(begin[i + 1] - begin[i]); }
  int last_input(int i) const { return first[i] + taps(i); }  // exclusive
};

Filter make_filter(int in, int out) {
  // Sizes pass through float, as the box of Pillow's resize does.
  const double scale = static_cast<double>(static_cast<float>(in)) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = kFilterRadius * filter_scale;
  const double inverse = 1.0 / filter_scale;
  const int64_t most_taps = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  if (out > INT_MAX / (most_taps * static_cast<int64_t>(sizeof(double)))) {  // Pillow gives up at the same size
    fail(ErrorCode::kInvalidRequest, "resampling {} pixels to {} needs too large a filter", in, out);
  }
  Filter filter;
  filter.first.reserve(out);
  filter.begin.reserve(static_cast<size_t>(out) + 1);
  filter.begin.push_back(0);
  std::vector<double> weights;
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), in);
    weights.clear();
    double sum = 0.0;
    for (int t = 0; t < last - first; ++t) {
      weights.push_back(cubic((t + first - center + 0.5) * inverse));
      sum += weights.back();
    }
    for (double weight : weights) {
      if (sum != 0.0) weight /= sum;
      const double fixed = weight * (1 << kFractionBits);
      filter.weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
    filter.first.push_back(first);
    filter.begin.push_back(filter.weights.size());
  }
  return filter;
}

/// Written without std::clamp, which keeps the compiler from making vector code of the loops below.
inline uint8_t to_byte(int32_t sum) {
  const int32_t value = sum >> kFractionBits;
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

constexpr int32_t kHalf = 1 << (kFractionBits - 1);

// Rows are filtered eight at a time from a tile that holds their pixels side by side, [x][row][channel]: then each tap
// is one multiplication of 24 neighbouring samples, which the compiler turns into vector code.
constexpr int kTileRows = 8;
constexpr int kTileLanes = kTileRows * 3;

/// Rows [y, y + count) of the image; the others of the tile keep what they held.
void fill_tile(const Image& image, int y, int count, uint8_t* tile) {
  const uint8_t* rows[kTileRows];
  for (int r = 0; r < count; ++r)
    rows[r] = image.row(y + r);
  // Pixels are copied as four bytes, of which the next copy replaces the last.
  const size_t last = static_cast<size_t>(image.width) - 1;
  for (size_t x = 0; x < last; ++x) {
    uint8_t* to = tile + x * kTileLanes;
    for (int r = 0; r < count; ++r)
      std::memcpy(to + r * 3, rows[r] + x * 3, 4);
  }
  for (int r = 0; r < count; ++r)
    std::memcpy(tile + last * kTileLanes + r * 3, rows[r] + last * 3, 3);
}

/// `out`: [kTileRows] rows of `out_width` pixels.
MINICPM_CLONES void filter_tile(const uint8_t* tile, const Filter& filter, int out_width, uint8_t* const* out) {
  const int* first = filter.first.data();
  const size_t* begin = filter.begin.data();
  const int32_t* weights = filter.weights.data();
  for (int x = 0; x < out_width; ++x) {
    int32_t sums[kTileLanes];
    for (int32_t& sum : sums)
      sum = kHalf;
    const uint8_t* samples = tile + static_cast<size_t>(first[x]) * kTileLanes;
    for (size_t t = begin[x]; t < begin[x + 1]; ++t, samples += kTileLanes) {
      const int32_t weight = weights[t];
      for (int lane = 0; lane < kTileLanes; ++lane)
        sums[lane] += samples[lane] * weight;
    }
    uint8_t bytes[kTileLanes];
    for (int lane = 0; lane < kTileLanes; ++lane)
      bytes[lane] = to_byte(sums[lane]);
    for (int r = 0; r < kTileRows; ++r)
      std::memcpy(out[r] + static_cast<size_t>(x) * 3, bytes + r * 3, 3);
  }
}

/// The sum of `taps` rows that lie `stride` apart, each times its weight: `count` samples.
MINICPM_CLONES void filter_column(const uint8_t* top, size_t stride, const int32_t* weights, int taps, size_t count,
                                  uint8_t* out) {
  constexpr size_t kLanes = 64;  // sums that stay in registers or the first cache
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    int32_t sums[kLanes];
    for (int32_t& sum : sums)
      sum = kHalf;
    for (int t = 0; t < taps; ++t) {
      const uint8_t* samples = top + static_cast<size_t>(t) * stride + i;
      const int32_t weight = weights[t];
      for (size_t lane = 0; lane < kLanes; ++lane)
        sums[lane] += samples[lane] * weight;
    }
    for (size_t lane = 0; lane < kLanes; ++lane)
      out[i + lane] = to_byte(sums[lane]);
  }
  for (; i < count; ++i) {
    int32_t sum = kHalf;
    for (int t = 0; t < taps; ++t)
      sum += top[static_cast<size_t>(t) * stride + i] * weights[t];
    out[i] = to_byte(sum);
  }
}

/// One of the sizes that are made of a picture. A pass that does not change the size has weights of exactly one and is
/// left out. Of the rows, only those that the vertical pass reads are made.
struct Job {
  int width = 0, height = 0;
  std::optional<Filter> horizontal, vertical;
  int first_row = 0, last_row = 0;     // read by the vertical pass; all when there is none
  std::unique_ptr<uint8_t[]> storage;  // of the horizontal pass
  Image result;

  Job(const Image& image, Size size) : width(size.width), height(size.height), last_row(image.height) {
    if (width != image.width) horizontal = make_filter(image.width, width);
    if (height != image.height) {
      vertical = make_filter(image.height, height);
      first_row = vertical->first[0];
      last_row = vertical->last_input(height - 1);
    }
    result = {width, height, {}};
    if (!horizontal && !vertical) return;
    result.rgb.resize(stride() * height);
    if (horizontal && vertical) storage = std::make_unique_for_overwrite<uint8_t[]>(stride() * (last_row - first_row));
  }

  size_t stride() const { return static_cast<size_t>(width) * 3; }
  /// Where the horizontal pass puts a row of the source.
  uint8_t* filtered_row(int y) {
    return (storage != nullptr ? storage.get() : result.rgb.data()) + static_cast<size_t>(y - first_row) * stride();
  }
  int64_t pixels() const { return int64_t{width} * height; }
};

/// The horizontal passes of all jobs over bands of kTileRows rows.
void filter_bands(const Image& image, std::vector<Job>& jobs, int64_t first_band, int64_t last_band) {
  std::vector<uint8_t> tile(static_cast<size_t>(image.width) * kTileLanes);
  for (int64_t band = first_band; band < last_band; ++band) {
    const int y = static_cast<int>(band) * kTileRows, count = std::min(kTileRows, image.height - y);
    fill_tile(image, y, count, tile.data());
    for (Job& job : jobs) {
      if (!job.horizontal || y + count <= job.first_row || y >= job.last_row) continue;
      std::vector<uint8_t> spare;  // for rows that nobody reads
      uint8_t* rows[kTileRows];
      for (int r = 0; r < kTileRows; ++r) {
        const bool wanted = r < count && y + r >= job.first_row && y + r < job.last_row;
        if (!wanted) spare.resize(job.stride());
        rows[r] = wanted ? job.filtered_row(y + r) : spare.data();
      }
      filter_tile(tile.data(), *job.horizontal, job.width, rows);
    }
  }
}

void filter_vertically(const Image& image, Job& job, int64_t first, int64_t last) {
  const size_t stride = job.stride();
  const uint8_t* rows = job.storage != nullptr ? job.storage.get() : image.row(job.first_row);
  for (int64_t y = first; y < last; ++y) {
    filter_column(rows + static_cast<size_t>(job.vertical->first[y] - job.first_row) * stride, stride,
                  job.vertical->weights.data() + job.vertical->begin[y], job.vertical->taps(static_cast<int>(y)),
                  stride, job.result.rgb.data() + static_cast<size_t>(y) * stride);
  }
}

constexpr int64_t kPixelsPerThread = 1 << 18;  // about a millisecond of work, against 20 us for a thread

}  // namespace

std::vector<Image> resize_bicubic(const Image& image, std::span<const Size> sizes) {
  MINICPM_CHECK(image.width > 0 && image.height > 0);
  std::vector<Job> jobs;
  for (const Size& size : sizes) {
    MINICPM_CHECK(size.width > 0 && size.height > 0);
    jobs.emplace_back(image, size);
  }
  const int64_t pixels = int64_t{image.width} * image.height;
  if (std::ranges::any_of(jobs, [](const Job& job) { return job.horizontal.has_value(); })) {
    int64_t work = pixels;
    for (const Job& job : jobs)
      work = std::max(work, job.pixels());
    const int64_t bands = (image.height + kTileRows - 1) / kTileRows;
    for_parts(bands, threads_for(work, kPixelsPerThread),
              [&](int64_t first, int64_t last) { filter_bands(image, jobs, first, last); });
  }
  std::vector<Image> results;
  for (Job& job : jobs) {
    if (job.vertical) {
      for_parts(job.height, threads_for(std::max(pixels, job.pixels()), kPixelsPerThread),
                [&](int64_t first, int64_t last) { filter_vertically(image, job, first, last); });
    } else if (!job.horizontal) {
      job.result.rgb = image.rgb;
    }
    results.push_back(std::move(job.result));
  }
  return results;
}

Image resize_bicubic(const Image& image, int width, int height) {
  const Size size{width, height};
  return std::move(resize_bicubic(image, {&size, 1}).front());
}

}  // namespace minicpm
