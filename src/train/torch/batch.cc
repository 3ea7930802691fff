#include "train/torch/batch.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "models/siglip.h"

namespace minicpm::train {
namespace {

struct Slice {
  const Patches* patches;
  int32_t frame_id;
  const std::vector<int32_t>* cells;  // null: not labelled
  int64_t start = 0;                  // row in the tower's order
  int64_t rows() const { return int64_t{patches->h} * patches->w; }
};
struct Group {
  std::vector<size_t> slices;
  int64_t first_row;  // of the text, where its query rows go
  int64_t rows = 0;   // patches of all its slices
};

std::vector<Slice> tower_order(std::vector<size_t>& order, std::vector<Slice> slices) {
  order.resize(slices.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](size_t i) { return slices[i].rows(); });
  int64_t next = 0;
  for (size_t i : order) {
    slices[i].start = next;
    next += slices[i].rows();
  }
  return slices;
}

/// [sin(p w), cos(p w)] with w_j = 10000^(-j/n), as the resampler's tables.
Tensor sincos(const Tensor& positions, int64_t n) {
  const Tensor rates = at::pow(10000.0f, at::arange(n, at::kFloat) / static_cast<float>(n)).reciprocal();
  const Tensor angles = positions.to(at::kFloat).unsqueeze(1) * rates;
  return at::cat({angles.sin(), angles.cos()}, 1);
}

Tensor slice_key_positions(const Slice& slice, int64_t dim) {
  const int64_t h = slice.patches->h, w = slice.patches->w;
  const Tensor columns = sincos(at::arange(w), dim / 4).unsqueeze(0).expand({h, w, dim / 2});
  const Tensor rows = sincos(at::arange(h), dim / 4).unsqueeze(1).expand({h, w, dim / 2});
  Tensor result = at::cat({columns, rows}, 2).reshape({h * w, dim});
  if (slice.frame_id >= 0) result = result + sincos(at::full({1}, slice.frame_id), dim / 2);
  return result;
}

/// Key positions of a shape of slice, computed once per shape and frame.
class KeyPositions {
 public:
  explicit KeyPositions(int64_t dim) : dim_(dim) {}
  const Tensor& of(const Slice& slice) {
    Tensor& entry = cache_[{slice.patches->h, slice.patches->w, slice.frame_id}];
    if (!entry.defined()) entry = slice_key_positions(slice, dim_);
    return entry;
  }

 private:
  int64_t dim_;
  std::map<std::tuple<int, int, int32_t>, Tensor> cache_;
};

void append_run(std::vector<Run>& runs, const Run& next) {
  if (!runs.empty()) {
    Run& last = runs.back();
    if (last.q_len == next.q_len && last.k_len == next.k_len) {
      ++last.count;
      return;
    }
  }
  runs.push_back(next);
}

void add_tower(Batch& batch, const ModelConfig& config, const std::vector<Slice>& slices,
               const std::vector<size_t>& order, at::ScalarType type) {
  const VisionConfig& vision = *config.vision;
  int64_t rows = 0;
  bool labelled = false;
  for (const Slice& slice : slices) {
    rows += slice.rows();
    labelled = labelled || slice.cells != nullptr;
  }
  Tensor pixels = at::empty({rows, vision.patch_dim}, at::kFloat), positions = at::empty({rows}, at::kLong);
  Tensor cells = labelled ? at::full({2 * rows}, -1, at::kLong) : Tensor();
  float* next_pixel = pixels.data_ptr<float>();
  int64_t* next_position = positions.data_ptr<int64_t>();
  for (size_t i : order) {
    const Slice& slice = slices[i];
    next_pixel = std::copy(slice.patches->values.begin(), slice.patches->values.end(), next_pixel);
    const auto row_buckets = position_buckets(slice.patches->h, vision.grid_size);
    const auto column_buckets = position_buckets(slice.patches->w, vision.grid_size);
    for (int32_t row : row_buckets) {
      for (int32_t column : column_buckets)
        *next_position++ = row * vision.grid_size + column;
    }
    if (slice.cells != nullptr) {
      std::ranges::copy(*slice.cells, cells.data_ptr<int64_t>() + 2 * slice.start);
    }
    append_run(batch.tower_runs, {1, slice.start, slice.rows(), slice.start, slice.rows()});
  }
  batch.pixels = pixels.to(type);
  batch.position_ids = positions;
  batch.cells = cells;
}

void add_resampler(Batch& batch, const ModelConfig& config, const std::vector<Slice>& slices,
                   std::vector<Group>& groups, at::ScalarType type) {
  const int64_t queries = config.resampler->query_num;
  std::ranges::stable_sort(groups, {}, &Group::rows);
  std::vector<int64_t> key_rows;
  std::vector<Tensor> positions;
  Tensor image_rows = at::empty({static_cast<int64_t>(groups.size()) * queries}, at::kLong);
  int64_t* next = image_rows.data_ptr<int64_t>();
  KeyPositions table(config.resampler->embed_dim);
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto start = static_cast<int64_t>(key_rows.size());
    for (size_t s : groups[g].slices) {
      for (int64_t r = 0; r < slices[s].rows(); ++r)
        key_rows.push_back(slices[s].start + r);
      positions.push_back(table.of(slices[s]));
    }
    for (int64_t q = 0; q < queries; ++q)
      *next++ = groups[g].first_row + q;
    append_run(batch.resampler_runs, {1, static_cast<int64_t>(g) * queries, queries, start, groups[g].rows});
  }
  bool same = true;
  for (size_t i = 0; i < key_rows.size(); ++i)
    same = same && key_rows[i] == static_cast<int64_t>(i);
  if (!same) batch.key_rows = at::tensor(key_rows, at::kLong);
  batch.key_positions = at::cat(positions).to(type);
  batch.image_rows = image_rows;
  batch.groups = static_cast<int64_t>(groups.size());
}

/// Branches after the first begin where the first one does, and see the tokens before it but not those between.
void separate_branches(Batch& batch, int64_t sequence, const EncodedSample& sample) {
  const auto& starts = sample.branches;
  for (size_t b = 1; b < starts.size(); ++b) {
    const int64_t end = b + 1 < starts.size() ? starts[b + 1] : static_cast<int64_t>(sample.input.tokens.size());
    for (int64_t i = starts[b]; i < end; ++i) {
      const int64_t row = sequence * batch.length + i;
      batch.positions.data_ptr<int64_t>()[row] = starts[0] + i - starts[b];
      batch.hidden.data_ptr<int64_t>()[2 * row] = starts[0];
      batch.hidden.data_ptr<int64_t>()[2 * row + 1] = starts[b];
    }
  }
}

void add_text(Batch& batch, std::span<const EncodedSample* const> samples) {
  batch.sequences = static_cast<int64_t>(samples.size());
  for (const EncodedSample* sample : samples)
    batch.length = std::max(batch.length, static_cast<int64_t>(sample->input.tokens.size()));
  batch.ids = at::zeros({batch.sequences * batch.length}, at::kLong);
  batch.positions = at::arange(batch.length).repeat({batch.sequences});
  if (std::ranges::any_of(samples, [](const EncodedSample* s) { return s->branches.size() > 1; })) {
    batch.hidden = at::zeros({batch.sequences * batch.length, 2}, at::kLong);
  }
  int64_t* ids = batch.ids.data_ptr<int64_t>();
  std::vector<int64_t> rows, targets;
  for (int64_t s = 0; s < batch.sequences; ++s) {
    const auto& tokens = samples[s]->input.tokens;
    const auto& labels = samples[s]->labels;
    std::ranges::copy(tokens, ids + s * batch.length);
    batch.tokens += static_cast<int64_t>(tokens.size());
    separate_branches(batch, s, *samples[s]);
    int64_t turn = -1;
    for (size_t i = 1; i < labels.size(); ++i) {
      if (labels[i] == kIgnoreLabel) continue;
      if (labels[i - 1] == kIgnoreLabel) ++turn;
      rows.push_back(s * batch.length + static_cast<int64_t>(i) - 1);
      targets.push_back(labels[i]);
      batch.target_sample.push_back(s);
      batch.target_turn.push_back(turn);
    }
  }
  batch.loss_rows = at::tensor(rows, at::kLong);
  batch.targets = at::tensor(targets, at::kLong);
}

}  // namespace

Batch Batch::to(at::Device device) const {
  Batch moved = *this;
  for (Tensor* tensor :
       {&moved.pixels,       &moved.position_ids, &moved.key_positions,     &moved.key_rows,
        &moved.cells,        &moved.ids,          &moved.positions,         &moved.hidden,
        &moved.image_rows,   &moved.loss_rows,    &moved.targets,           &moved.sound.windows,
        &moved.sound.inside, &moved.sound.frames, &moved.sound.positions,   &moved.sound.kept,
        &moved.sound.heard,  &moved.sound.places, &moved.sound.spoken_rows, &moved.sound.spoken_tokens}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return moved;
}

Batch make_batch(const ModelConfig& config, std::span<const EncodedSample* const> samples, at::ScalarType type) {
  Batch batch;
  add_text(batch, samples);
  std::vector<Slice> slices;
  std::vector<Group> groups;
  for (size_t s = 0; s < samples.size(); ++s) {
    size_t number = 0;  // of the slice in its sample
    for (const auto& item : samples[s]->input.media) {
      if (item->is_sound()) continue;
      size_t next = 0;
      for (size_t g = 0; g < item->groups.size(); ++g) {
        const ResamplerGroup& group = item->groups[g];
        groups.push_back({{}, static_cast<int64_t>(s) * batch.length + item->spans[g], 0});
        for (size_t f = 0; f < group.slices.size(); ++f, ++next, ++number) {
          const auto& cells = samples[s]->cells;
          slices.push_back({&item->slices[next], group.frame_ids.empty() ? -1 : group.frame_ids[f],
                            cells.empty() ? nullptr : &cells[number]});
          groups.back().slices.push_back(slices.size() - 1);
          groups.back().rows += slices.back().rows();
        }
      }
    }
  }
  if (config.has_audio()) batch.sound = make_sound_batch(*config.audio, samples, batch.length, type);
  if (slices.empty()) return batch;
  std::vector<size_t> order;
  slices = tower_order(order, std::move(slices));
  add_tower(batch, config, slices, order, type);
  add_resampler(batch, config, slices, groups, type);
  return batch;
}

}  // namespace minicpm::train
