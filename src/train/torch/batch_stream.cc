#include "train/torch/batch_stream.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/error.h"
#include "train/dataset.h"
#include "train/plugin_source.h"

namespace minicpm::train {
namespace {

/// Well mixed bits of two numbers (SplitMix64's finaliser).
uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15u + b;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// A permutation that depends on the seed only: the standard library's shuffle differs between implementations.
std::vector<int64_t> permutation(int64_t n, uint64_t seed) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[i], order[mix(seed, static_cast<uint64_t>(i)) % static_cast<uint64_t>(i + 1)]);
  return order;
}

}  // namespace

std::unique_ptr<SampleSource> open_source(const DataConfig& data, const ModelConfig& config) {
  if (!data.plugin.empty()) return load_plugin_source(data.plugin, data.options);
  DatasetOptions options;
  options.temporal = config.version->temporal;
  options.slices = config.slices;
  options.media_root = data.media_root;
  return JsonDataset::open(data.file, options);
}

BatchStream::BatchStream(const Processor& processor, const SampleSource& source, const StageConfig& stage,
                         const StreamOptions& options)
    : processor_(&processor), source_(&source), stage_(stage), options_(options) {
  if (source.size() <= 0) fail(ErrorCode::kBadFile, "stage \"{}\": its data has no samples", stage.name);
  total_ = stage.samples > 0 ? stage.samples : static_cast<int64_t>(stage.epochs * static_cast<double>(source.size()));
  const int64_t per_step = stage.batch * stage.accumulation * options.processes;
  steps_ = std::max<int64_t>(1, (total_ + per_step - 1) / per_step);
}

int64_t BatchStream::sample_index(int64_t number) const {
  const int64_t size = source_->size(), epoch = number / size, place = number % size;
  if (!stage_.shuffle) return place;
  auto& order = orders_[epoch];
  if (order.empty()) {
    while (orders_.size() > 2)
      orders_.erase(orders_.begin()->first == epoch ? std::prev(orders_.end()) : orders_.begin());
    orders_[epoch] = permutation(size, mix(options_.seed, static_cast<uint64_t>(epoch)));
  }
  return orders_[epoch][place];
}

// A window is sort_batches updates. Each micro-batch of an update is a stream of its own that is sorted by itself, so
// one process with two micro-batches sees exactly what two processes with one each see.
void BatchStream::draw_window(int64_t window) {
  const int64_t batch = stage_.batch, depth = stage_.sort_batches, streams = stage_.accumulation * options_.processes;
  const int64_t per_stream = depth * batch;
  std::vector<int64_t> indices(stage_.accumulation * per_stream);
  for (int64_t a = 0; a < stage_.accumulation; ++a) {
    const int64_t stream = a * options_.processes + options_.rank;
    for (int64_t i = 0; i < per_stream; ++i) {
      const int64_t step = window * depth + i / batch;
      indices[a * per_stream + i] = sample_index((step * streams + stream) * batch + i % batch);
    }
  }
  encoded_.clear();
  encoded_.resize(indices.size());
  std::vector<std::string> reasons(indices.size());
  at::parallel_for(0, static_cast<int64_t>(indices.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      try {
        encoded_[i] =
            std::make_unique<EncodedSample>(encode_sample(*processor_, source_->sample(indices[i]), options_.encode));
      } catch (const Error& e) {
        if (!options_.skip_bad) throw;
        reasons[i] = e.what();
      }
    }
  });
  for (const std::string& reason : reasons) {
    if (!reason.empty() && options_.on_bad) options_.on_bad(reason);
  }
  if (depth == 1) return;
  const auto length = [](const std::unique_ptr<EncodedSample>& s) { return s ? s->input.tokens.size() : 0; };
  for (int64_t a = 0; a < stage_.accumulation; ++a) {
    const auto first = encoded_.begin() + a * per_stream;
    std::stable_sort(first, first + per_stream, [&](const auto& x, const auto& y) { return length(x) < length(y); });
    std::vector<std::unique_ptr<EncodedSample>> sorted(std::make_move_iterator(first),
                                                       std::make_move_iterator(first + per_stream));
    const auto order = permutation(depth, mix(options_.seed + 1, static_cast<uint64_t>(window)));
    for (int64_t d = 0; d < depth; ++d)
      std::move(sorted.begin() + order[d] * batch, sorted.begin() + (order[d] + 1) * batch, first + d * batch);
  }
}

std::vector<std::vector<const EncodedSample*>> BatchStream::micro_batches(int64_t step) {
  const int64_t window = step / stage_.sort_batches, place = step % stage_.sort_batches;
  if (window != window_) draw_window(window);
  window_ = window;
  std::vector<std::vector<const EncodedSample*>> result(stage_.accumulation);
  for (int64_t a = 0; a < stage_.accumulation; ++a) {
    for (int64_t i = 0; i < stage_.batch; ++i) {
      const auto& sample = encoded_[(a * stage_.sort_batches + place) * stage_.batch + i];
      if (sample != nullptr) result[a].push_back(sample.get());
    }
  }
  return result;
}

int64_t BatchStream::waiting_patches() const {
  int64_t patches = 0;
  for (const auto& sample : encoded_) {
    if (sample == nullptr) continue;
    for (const auto& item : sample->input.media) {
      for (const Patches& slice : item->slices)
        patches += int64_t{slice.h} * slice.w;
    }
  }
  return patches;
}

}  // namespace minicpm::train
