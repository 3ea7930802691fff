#include "train/check.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "base/thread_pool.h"

namespace minicpm {
namespace {

constexpr int64_t kFirstBin = 64;  // tokens: one picture without slices has about as many

/// What is kept of each good sample.
struct Sizes {
  std::vector<int32_t> pictures, slices, sounds, media, tokens, prompt_tokens, trained_tokens;
};

/// The samples that were looked at, by several threads.
class Collector {
 public:
  void add(const TrainingSample& sample, const EncodedSample& encoded) {
    int32_t pictures = 0, slices = 0, sounds = 0;
    for (const Message& message : sample.messages) {
      for (const ContentPart& part : message.content) {
        pictures += static_cast<int32_t>(part.images.size());
        sounds += part.kind == ContentPart::Kind::kSound ? 1 : 0;
      }
    }
    for (const auto& item : encoded.input.media)
      slices += static_cast<int32_t>(item->slices.size());
    const auto tokens = static_cast<int32_t>(encoded.input.tokens.size());
    const std::scoped_lock lock(mutex_);
    sizes_.pictures.push_back(pictures);
    sizes_.slices.push_back(slices);
    sizes_.sounds.push_back(sounds);
    sizes_.media.push_back(pictures + sounds);
    sizes_.tokens.push_back(tokens);
    sizes_.prompt_tokens.push_back(tokens - static_cast<int32_t>(encoded.trained_tokens));
    sizes_.trained_tokens.push_back(static_cast<int32_t>(encoded.trained_tokens));
  }

  void add_bad(int64_t index, const std::string& message) {
    const std::scoped_lock lock(mutex_);
    bad_.push_back({index, message});
  }

  DataReport report(int64_t samples) {
    DataReport report;
    report.samples = samples;
    std::ranges::sort(bad_, {}, &BadSample::index);
    report.bad = std::move(bad_);
    report.text_only = std::ranges::count(sizes_.media, 0);
    report.lengths = histogram(sizes_.tokens);
    report.pictures = distribution_of(std::move(sizes_.pictures));
    report.slices = distribution_of(std::move(sizes_.slices));
    report.sounds = distribution_of(std::move(sizes_.sounds));
    report.tokens = distribution_of(std::move(sizes_.tokens));
    report.prompt_tokens = distribution_of(std::move(sizes_.prompt_tokens));
    report.trained_tokens = distribution_of(std::move(sizes_.trained_tokens));
    return report;
  }

 private:
  static std::vector<HistogramBin> histogram(const std::vector<int32_t>& lengths) {
    std::vector<HistogramBin> bins;
    if (lengths.empty()) return bins;
    const int64_t longest = std::ranges::max(lengths);
    for (int64_t bound = kFirstBin;; bound *= 2) {
      const int64_t below = bins.empty() ? 0 : bound / 2;
      bins.push_back({bound, std::ranges::count_if(lengths, [&](int32_t n) { return n > below && n <= bound; })});
      if (bound >= longest) break;
    }
    const auto first = std::ranges::find_if(bins, [](const HistogramBin& bin) { return bin.count > 0; });
    bins.erase(bins.begin(), first);
    return bins;
  }

  std::mutex mutex_;
  Sizes sizes_;
  std::vector<BadSample> bad_;
};

}  // namespace

Distribution distribution_of(std::vector<int32_t> values) {
  Distribution result;
  if (values.empty()) return result;
  std::ranges::sort(values);
  const auto at = [&](size_t percent) { return values[(values.size() * percent + 99) / 100 - 1]; };
  result.total = std::accumulate(values.begin(), values.end(), int64_t{0});
  result.min = values.front();
  result.median = at(50);
  result.p95 = at(95);
  result.max = values.back();
  result.mean = static_cast<double>(result.total) / static_cast<double>(values.size());
  return result;
}

DataReport check_samples(const SampleSource& source, const Processor& processor, const CheckOptions& options) {
  Collector collector;
  std::atomic<int64_t> done = 0;
  std::mutex mutex;
  std::exception_ptr failure;  // the first that is no sample's fault
  std::atomic<bool> stop = false;
  ThreadPool pool(options.threads);
  pool.run(source.size(), [&](int64_t index, int worker) {
    if (stop || (options.cancel != nullptr && *options.cancel)) return;
    try {
      try {
        const TrainingSample sample = source.sample(index);
        collector.add(sample, encode_sample(processor, sample, options.encode));
      } catch (const Error& error) {
        collector.add_bad(index, error.what());
      }
      const int64_t count = ++done;
      if (worker == 0 && options.progress) options.progress(count);
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  });
  if (failure) std::rethrow_exception(failure);
  if (options.cancel != nullptr && *options.cancel) fail(ErrorCode::kCancelled, "the check was interrupted");
  return collector.report(source.size());
}

}  // namespace minicpm
