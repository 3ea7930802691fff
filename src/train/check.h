// Looks at every sample before training does: which ones are bad and why, and how long they are.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/processor.h"
#include "train/encode.h"
#include "train/sample.h"

namespace minicpm {

struct CheckOptions {
  EncodeOptions encode;
  int threads = 2;
  /// Called on the calling thread with the number of samples that were looked at.
  std::function<void(int64_t done)> progress;
  const std::atomic<bool>* cancel = nullptr;  // setting it ends the check with Error cancelled
};

struct BadSample {
  int64_t index = 0;
  std::string message;  // begins with the sample's origin: "data.jsonl:17: ..."
};

/// Of one number per good sample. All 0 without samples.
struct Distribution {
  int64_t total = 0;
  int64_t min = 0, median = 0, p95 = 0, max = 0;
  double mean = 0;
};
/// The smallest value that at least that part of all values does not exceed stands for a median and a percentile.
Distribution distribution_of(std::vector<int32_t> values);

struct HistogramBin {
  int64_t up_to = 0;  // tokens: more than the bin before, at most these
  int64_t count = 0;
};

struct DataReport {
  int64_t samples = 0;         // good and bad
  std::vector<BadSample> bad;  // in order
  // Of the good ones.
  int64_t text_only = 0;  // without pictures and sounds
  Distribution pictures;  // frames of videos included
  Distribution slices;    // overviews included
  Distribution sounds;
  Distribution tokens;          // whole samples, placeholders of pictures included
  Distribution prompt_tokens;   // what is not learned
  Distribution trained_tokens;  // what is learned
  std::vector<HistogramBin>
      lengths;  // of whole samples: bins whose bounds double, the empty ones at both ends left out

  int64_t good() const { return samples - static_cast<int64_t>(bad.size()); }
};

/// Reads and encodes all samples. An Error of a sample makes it a bad one; other exceptions, and cancellation, are
/// passed on.
DataReport check_samples(const SampleSource& source, const Processor& processor, const CheckOptions& options);

}  // namespace minicpm
