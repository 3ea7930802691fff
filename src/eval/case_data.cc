#include "eval/case_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/format.h"

namespace minicpm {
namespace {

const StoredTensor& require(const WeightSource& source, std::string_view name) {
  const StoredTensor* tensor = source.find(name);
  if (tensor == nullptr) fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source.path(), name);
  return *tensor;
}

int64_t count(const Weight& view) {
  int64_t product = 1;
  for (int64_t size : view.shape())
    product *= size;
  return product;
}

template <typename Stored, typename Out>
std::vector<Out> convert(const Weight& view) {
  std::vector<Out> result(count(view));
  for (size_t i = 0; i < result.size(); ++i) {
    Stored value;  // data need not be aligned in the file
    std::memcpy(&value, static_cast<const char*>(view.data) + i * sizeof(Stored), sizeof(Stored));
    result[i] = static_cast<Out>(value);
  }
  return result;
}

}  // namespace

double relative_l2(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - expected[i];
    difference += d * d;
    norm += static_cast<double>(expected[i]) * expected[i];
  }
  if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
  if (norm == 0) return difference == 0 ? 0 : std::numeric_limits<double>::infinity();
  return std::sqrt(difference / norm);
}

std::vector<float> read_floats(const WeightSource& source, std::string_view name) {
  const StoredTensor& tensor = require(source, name);
  const Weight& view = tensor.view;
  if (view.dtype == DType::kF32) return convert<float, float>(view);
  const auto ints = read_ints(source, name);
  return {ints.begin(), ints.end()};
}

std::vector<int64_t> read_ints(const WeightSource& source, std::string_view name) {
  const StoredTensor& tensor = require(source, name);
  switch (tensor.view.dtype) {
    case DType::kI64:
      return convert<int64_t, int64_t>(tensor.view);
    case DType::kI32:
      return convert<int32_t, int64_t>(tensor.view);
    case DType::kU8:
    case DType::kBool:
      return convert<uint8_t, int64_t>(tensor.view);
    default:
      fail(ErrorCode::kBadFile, "{}: tensor {} has type {}, expected whole numbers", source.path(), name,
           minicpm::name(tensor.view.dtype));
  }
}

std::vector<int64_t> read_shape(const WeightSource& source, std::string_view name) {
  const auto shape = require(source, name).view.shape();
  return {shape.begin(), shape.end()};
}

void CaseChecker::check_floats(std::string_view name, std::span<const float> actual, double limit) {
  checked_.emplace_back(name);
  const double error = relative_l2(actual, read_floats(*expected_, name));
  VerifyItem item{case_name_ + "/" + std::string(name), error, limit, error <= limit, ""};
  if (std::isinf(error)) item.detail = fmt::format("{} values computed", actual.size());
  (*report_)(item);
}

void CaseChecker::check_ints(std::string_view name, std::span<const int64_t> actual) {
  checked_.emplace_back(name);
  const std::vector<int64_t> expected = read_ints(*expected_, name);
  VerifyItem item{case_name_ + "/" + std::string(name), 0, 0, false, ""};
  if (actual.size() != expected.size()) {
    item.error = static_cast<double>(std::max(actual.size(), expected.size()));
    item.detail = fmt::format("{} values, expected {}", actual.size(), expected.size());
  } else {
    for (size_t i = 0; i < expected.size(); ++i) {
      if (actual[i] == expected[i]) continue;
      if (item.error == 0) item.detail = fmt::format("at {}: {}, expected {}", i, actual[i], expected[i]);
      ++item.error;
    }
  }
  item.ok = item.error == 0 && item.detail.empty();
  (*report_)(item);
}

void CaseChecker::finish() {
  for (const StoredTensor& tensor : expected_->tensors()) {
    if (std::ranges::find(checked_, tensor.name) != checked_.end()) continue;
    (*report_)({case_name_ + "/" + tensor.name, std::numeric_limits<double>::infinity(), 0, false, "was not computed"});
  }
}

namespace {

/// pixel_values [3, patch, patch * L] -> rows of patches [L, 3 * patch * patch].
Patches read_patches(const WeightSource& inputs, const std::string& name, const PatchGrid& grid, int64_t side) {
  const std::vector<float> pixels = read_floats(inputs, name);
  const int64_t count = int64_t{grid.h} * grid.w;
  if (static_cast<int64_t>(pixels.size()) != 3 * side * side * count) {
    fail(ErrorCode::kBadFile, "{}: {}: expected {} values for {} x {} patches, found {}", inputs.path(), name,
         3 * side * side * count, grid.h, grid.w, pixels.size());
  }
  Patches patches{grid.h, grid.w, std::vector<float>(pixels.size())};
  float* out = patches.values.data();
  for (int64_t patch = 0; patch < count; ++patch) {
    for (int64_t row = 0; row < 3 * side; ++row)
      out = std::copy_n(pixels.data() + (row * count + patch) * side, side, out);
  }
  return patches;
}

}  // namespace

MediaItem read_case_media(const WeightSource& inputs, const Json& case_json, const std::string& prefix,
                          const std::string& temporal_key, int64_t patch_size) {
  MediaItem item;
  const std::vector<int64_t> sizes = read_ints(inputs, prefix + "tgt_sizes");
  std::vector<PatchGrid> grids;
  for (size_t i = 0; i < sizes.size() / 2; ++i) {
    grids.push_back({static_cast<int>(sizes[2 * i]), static_cast<int>(sizes[2 * i + 1])});
    item.slices.push_back(read_patches(inputs, fmt::format("{}pixel_values.{}", prefix, i), grids[i], patch_size));
  }
  if (!case_json.contains(temporal_key)) {
    for (const PatchGrid& grid : grids)
      item.groups.push_back({{grid}, {}});
    return item;
  }
  size_t next = 0;
  for (const Json& ids : case_json.at(temporal_key)) {
    ResamplerGroup group;
    for (const Json& id : ids) {
      group.slices.push_back(grids.at(next++));
      group.frame_ids.push_back(id.get<int32_t>());
    }
    item.groups.push_back(std::move(group));
  }
  return item;
}

}  // namespace minicpm
