// Reading reference cases and judging tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/scheduler.h"
#include "eval/verify.h"
#include "io/weight_source.h"

namespace minicpm {

/// |a - b| / |b|; infinite when sizes differ or a value is not finite.
double relative_l2(std::span<const float> actual, std::span<const float> expected);

/// Stored values as f32 or int64, whatever their type. Throws Error bad_file when the tensor is absent.
std::vector<float> read_floats(const WeightSource& source, std::string_view name);
std::vector<int64_t> read_ints(const WeightSource& source, std::string_view name);
std::vector<int64_t> read_shape(const WeightSource& source, std::string_view name);

/// The slices `prefix`pixel_values.N with their sizes from `prefix`tgt_sizes, grouped by the case's lists of frame ids
/// under `temporal_key`, else each on its own. Throws Error bad_file.
MediaItem read_case_media(const WeightSource& inputs, const Json& case_json, const std::string& prefix,
                          const std::string& temporal_key, int64_t patch_size);

/// Compares what was computed with the expected tensors of one case and reports each.
class CaseChecker {
 public:
  CaseChecker(std::string case_name, const WeightSource& expected, const VerifyReporter& report)
      : case_name_(std::move(case_name)), expected_(&expected), report_(&report) {}

  void check_floats(std::string_view name, std::span<const float> actual, double limit = kDefaultLimit);
  void check_ints(std::string_view name, std::span<const int64_t> actual);
  bool has(std::string_view name) const { return expected_->find(name) != nullptr; }
  /// Reports a failure for every expected tensor that was never checked.
  void finish();

  static constexpr double kDefaultLimit = 1e-4;

 private:
  std::string case_name_;
  const WeightSource* expected_;
  const VerifyReporter* report_;
  std::vector<std::string> checked_;
};

}  // namespace minicpm
