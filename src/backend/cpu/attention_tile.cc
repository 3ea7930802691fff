#include "backend/cpu/attention_tile.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace minicpm::cpu {
namespace {

int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Where the parts of a tile's scratch memory lie. Queries are padded to whole vectors.
struct Layout {
  int64_t lanes, stride, panel_lanes;
  int64_t q, out, highest, total, visible, k, v, scores, size;

  Layout(const KernelTable& kernels, int64_t queries, int64_t head_dim) {
    lanes = round_up(queries, kernels.lanes);
    stride = round_up(head_dim, kernels.tile_rows);
    panel_lanes = static_cast<int64_t>(kernels.lanes) * kernels.tile_vectors;
    const int64_t rows = round_up(kTileKeys, kernels.tile_rows);
    int64_t next = 0;
    const auto take = [&next](int64_t count) {
      const int64_t begin = next;
      next += round_up(count, 16);  // parts begin at a cache line
      return begin;
    };
    q = take(lanes * head_dim);
    out = take(lanes * stride);
    highest = take(lanes);
    total = take(lanes);
    visible = take(lanes);
    k = take(rows * stride);
    v = take(rows * stride);
    scores = take(rows * panel_lanes);
    size = next;
  }
};

/// The lanes of a tile are cut into panels: full ones, and single vectors for the rest. fn(first lane, lanes).
template <typename Fn>
void for_panels(const KernelTable& kernels, const Layout& layout, Fn&& fn) {
  int64_t lane = 0;
  for (; lane + layout.panel_lanes <= layout.lanes; lane += layout.panel_lanes)
    fn(lane, layout.panel_lanes);
  for (; lane < layout.lanes; lane += kernels.lanes)
    fn(lane, kernels.lanes);
}

constexpr int kMaxLanes = 16;  // of a vector

/// Queries of a panel to [head_dim][lanes], in units in which e^x is 2^x. Lanes of padding repeat the last query.
void pack_queries(const KernelTable& kernels, const AttentionTile& tile, int64_t lane, int64_t lanes, float* packed) {
  const float factor = tile.scale * std::numbers::log2e_v<float>;
  const float* rows[kMaxLanes];
  for (int64_t first = 0; first < lanes; first += kernels.lanes) {
    for (int64_t j = 0; j < kernels.lanes; ++j) {
      const int64_t query = std::min(lane + first + j, tile.queries() - 1);
      rows[j] = tile.q + query / tile.group * tile.q_row_stride + query % tile.group * tile.q_head_stride;
    }
    kernels.rows_to_lanes(packed + first, lanes, rows, tile.head_dim, factor);
  }
}

/// Sums of a panel, divided by the total weight, to the rows of the result. Padding goes to `spare`.
void unpack_results(const KernelTable& kernels, const AttentionTile& tile, int64_t lane, int64_t lanes,
                    const float* sums, const float* totals, float* spare) {
  float* rows[kMaxLanes];
  float factors[kMaxLanes];
  for (int64_t first = 0; first < lanes; first += kernels.lanes) {
    for (int64_t j = 0; j < kernels.lanes; ++j) {
      const int64_t query = lane + first + j;
      const int64_t offset = query / tile.group * tile.out_row_stride + query % tile.group * tile.out_head_stride;
      rows[j] = query < tile.queries() ? tile.out + offset : spare;
      factors[j] = totals[first + j] == 0.0f ? 0.0f : 1.0f / totals[first + j];
    }
    kernels.lanes_to_rows(rows, sums + first, lanes, tile.head_dim, factors);
  }
}

/// How many keys each lane sees from `first` on. Returns the smallest and the largest number.
struct Range {
  int64_t low, high;
};
Range count_visible(const AttentionTile& tile, int64_t lane, int64_t lanes, int64_t first, float* visible) {
  Range range = {tile.keys, 0};
  for (int64_t j = 0; j < lanes; ++j) {
    const int64_t query = std::min(lane + j, tile.queries() - 1);  // lanes of padding do as the last query does
    const int64_t count = std::clamp<int64_t>(tile.positions[query / tile.group] + 1 - first, 0, kTileKeys);
    visible[j] = static_cast<float>(count);
    range = {std::min(range.low, count), std::max(range.high, count)};
  }
  return range;
}

}  // namespace

int64_t tile_scratch(const KernelTable& kernels, int64_t queries, int64_t head_dim) {
  return Layout(kernels, queries, head_dim).size;
}

void run_tile(const KernelTable& kernels, const AttentionTile& tile, const KeySource& source, float* scratch) {
  const Layout layout(kernels, tile.queries(), tile.head_dim);
  std::fill_n(scratch + layout.out, layout.lanes * layout.stride, 0.0f);
  std::fill_n(scratch + layout.highest, layout.lanes, kLowestScore);
  std::fill_n(scratch + layout.total, layout.lanes, 0.0f);
  const bool half = tile.half && kernels.attend_half != nullptr && tile.head_dim % 2 == 0;
  for_panels(kernels, layout, [&](int64_t lane, int64_t lanes) {
    float* queries = scratch + layout.q + lane * tile.head_dim;
    pack_queries(kernels, tile, lane, lanes, queries);
    if (half) kernels.halve_queries(queries, tile.head_dim, lanes);
  });

  AttentionStep step = {};
  step.k = scratch + layout.k;
  step.v = scratch + layout.v;
  step.head_dim = tile.head_dim;
  step.stride = layout.stride;
  step.scores = scratch + layout.scores;
  for (int64_t first = 0; first < tile.keys; first += kTileKeys) {
    const int64_t keys = std::min(kTileKeys, tile.keys - first);
    source.load(first, keys, layout.stride, scratch + layout.k, scratch + layout.v);
    if (half) kernels.halve_keys(scratch + layout.k, scratch + layout.v, keys, layout.stride);
    for_panels(kernels, layout, [&](int64_t lane, int64_t lanes) {
      Range visible = {keys, keys};
      if (tile.positions != nullptr) visible = count_visible(tile, lane, lanes, first, scratch + layout.visible);
      if (visible.high == 0) return;
      step.keys = visible.high;
      step.visible = visible.low < step.keys ? scratch + layout.visible : nullptr;
      step.q = scratch + layout.q + lane * tile.head_dim;
      step.vectors = static_cast<int>(lanes / kernels.lanes);
      step.highest = scratch + layout.highest + lane;
      step.total = scratch + layout.total + lane;
      step.out = scratch + layout.out + lane * layout.stride;
      half ? kernels.attend_half(step) : kernels.attend(step);
    });
  }
  for_panels(kernels, layout, [&](int64_t lane, int64_t lanes) {
    unpack_results(kernels, tile, lane, lanes, scratch + layout.out + lane * layout.stride,
                   scratch + layout.total + lane, scratch + layout.k);  // the keys are no longer needed
  });
}

}  // namespace minicpm::cpu
