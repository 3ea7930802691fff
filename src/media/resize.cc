// Bicubic resampling, byte for byte as Pillow does it: weights are computed in double, normalised, and rounded to 22
// fractional bits; each pass sums in integers and rounds to a byte.
#include <algorithm>
#include <climits>
#include <cmath>

#include "base/error.h"
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

uint8_t to_byte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

constexpr int32_t kHalf = 1 << (kFractionBits - 1);

// Rows are filtered eight at a time from a tile that holds their pixels side by side, [x][row][channel]: then each tap
// is one multiplication of 24 neighbouring samples, which the compiler turns into vector code.
constexpr int kTileRows = 8;
constexpr int kTileLanes = kTileRows * 3;

void filter_tile(const uint8_t* tile, const Filter& filter, int out_width, uint8_t* out, size_t out_stride) {
  for (int x = 0; x < out_width; ++x) {
    int32_t sums[kTileLanes];
    for (int32_t& sum : sums)
      sum = kHalf;
    const uint8_t* samples = tile + static_cast<size_t>(filter.first[x]) * kTileLanes;
    for (size_t t = filter.begin[x]; t < filter.begin[x + 1]; ++t, samples += kTileLanes) {
      const int32_t weight = filter.weights[t];
      for (int lane = 0; lane < kTileLanes; ++lane)
        sums[lane] += samples[lane] * weight;
    }
    for (int lane = 0; lane < kTileLanes; ++lane) {
      out[lane / 3 * out_stride + static_cast<size_t>(x) * 3 + lane % 3] = to_byte(sums[lane]);
    }
  }
}

void filter_row(const uint8_t* row, const Filter& filter, int out_width, uint8_t* out) {
  for (int x = 0; x < out_width; ++x, out += 3) {
    int32_t sums[3] = {kHalf, kHalf, kHalf};
    const uint8_t* samples = row + static_cast<size_t>(filter.first[x]) * 3;
    for (size_t t = filter.begin[x]; t < filter.begin[x + 1]; ++t, samples += 3) {
      for (int c = 0; c < 3; ++c)
        sums[c] += samples[c] * filter.weights[t];
    }
    for (int c = 0; c < 3; ++c)
      out[c] = to_byte(sums[c]);
  }
}

/// Rows [first_row, last_row) of `image`, `width` pixels wide.
Image resize_horizontally(const Image& image, int width, int first_row, int last_row) {
  const Filter filter = make_filter(image.width, width);
  Image result{width, last_row - first_row, {}};
  const size_t stride = static_cast<size_t>(width) * 3;
  result.rgb.resize(stride * result.height);
  std::vector<uint8_t> tile;
  int y = 0;
  for (; y + kTileRows <= result.height; y += kTileRows) {
    tile.resize(static_cast<size_t>(image.width) * kTileLanes);
    for (int r = 0; r < kTileRows; ++r) {
      const uint8_t* pixel = image.row(first_row + y + r);
      uint8_t* to = tile.data() + r * 3;
      for (int x = 0; x < image.width; ++x, pixel += 3, to += kTileLanes) {
        to[0] = pixel[0];
        to[1] = pixel[1];
        to[2] = pixel[2];
      }
    }
    filter_tile(tile.data(), filter, width, result.rgb.data() + y * stride, stride);
  }
  for (; y < result.height; ++y) {
    filter_row(image.row(first_row + y), filter, width, result.rgb.data() + y * stride);
  }
  return result;
}

/// `image` holds the rows of the source from `first_row` on.
Image resize_vertically(const Image& image, const Filter& filter, int height, int first_row) {
  Image result{image.width, height, {}};
  const size_t stride = static_cast<size_t>(image.width) * 3;
  result.rgb.resize(stride * height);
  constexpr size_t kLanes = 64;  // sums that stay in registers or the first cache
  for (int y = 0; y < height; ++y) {
    const uint8_t* top = image.row(filter.first[y] - first_row);
    const int32_t* weights = filter.weights.data() + filter.begin[y];
    const int taps = filter.taps(y);
    uint8_t* out = result.rgb.data() + static_cast<size_t>(y) * stride;
    size_t i = 0;
    for (; i + kLanes <= stride; i += kLanes) {
      int32_t sums[kLanes];
      for (int32_t& sum : sums)
        sum = kHalf;
      for (int t = 0; t < taps; ++t) {
        const uint8_t* samples = top + t * stride + i;
        for (size_t lane = 0; lane < kLanes; ++lane)
          sums[lane] += samples[lane] * weights[t];
      }
      for (size_t lane = 0; lane < kLanes; ++lane)
        out[i + lane] = to_byte(sums[lane]);
    }
    for (; i < stride; ++i) {
      int32_t sum = kHalf;
      for (int t = 0; t < taps; ++t)
        sum += top[t * stride + i] * weights[t];
      out[i] = to_byte(sum);
    }
  }
  return result;
}

}  // namespace

Image resize_bicubic(const Image& image, int width, int height) {
  MINICPM_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0);
  // A pass that does not change the size has weights of exactly one and is left out. Of the rows, only those that the
  // vertical pass reads are made.
  if (height == image.height) {
    return width == image.width ? image : resize_horizontally(image, width, 0, image.height);
  }
  const Filter vertical = make_filter(image.height, height);
  if (width == image.width) return resize_vertically(image, vertical, height, 0);
  const int first_row = vertical.first[0], last_row = vertical.last_input(height - 1);
  return resize_vertically(resize_horizontally(image, width, first_row, last_row), vertical, height, first_row);
}

}  // namespace minicpm
