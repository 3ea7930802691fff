// The `preprocess` case: pictures to slices and patches, and the texts that stand for them in prompts.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "eval/case_data.h"
#include "eval/verify.h"
#include "io/safetensors.h"
#include "media/image.h"
#include "media/slicing.h"
#include "models/vision_prompt.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCaseFileLimitBytes = 16u << 20;
constexpr double kPixelLimit = 1e-6;  // equal bytes give equal floats but for the last bit

/// The pictures of the case by name, decoded as the reference does: without looking at EXIF.
class Pictures {
 public:
  explicit Pictures(fs::path folder) : folder_(std::move(folder)) {}

  const Image& get(const std::string& name) {
    const auto found = images_.find(name);
    if (found != images_.end()) return found->second;
    return images_.emplace(name, load_image(folder_ / (name + ".png"), {.apply_exif_orientation = false}))
        .first->second;
  }
  Size size(const std::string& name) {
    const Image& image = get(name);
    return {image.width, image.height};
  }

 private:
  fs::path folder_;
  std::map<std::string, Image> images_;
};

/// "b_1344x896/v26/n9": which picture, whose processor, how many slices at most.
struct Setting {
  std::string text, image, processor;
  SliceConfig config;
};

Setting parse_setting(std::string_view text, const std::string& source) {
  const size_t first = text.find('/'), second = text.find("/n", first + 1);
  int max_slices = 0;
  if (first != std::string_view::npos && second != std::string_view::npos) {
    std::from_chars(text.data() + second + 2, text.data() + text.size(), max_slices);
  }
  if (max_slices < 1) fail(ErrorCode::kBadFile, "{}: {} is not <picture>/<processor>/n<slices>", source, text);
  return {std::string(text), std::string(text.substr(0, first)),
          std::string(text.substr(first + 1, second - first - 1)), SliceConfig{.max_slice_nums = max_slices}};
}

uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = ~0u;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}

/// Mean, standard deviation and mean absolute value.
void append_stats(std::span<const float> values, std::vector<float>* stats) {
  double sum = 0, sum_squares = 0, sum_absolute = 0;
  for (const double v : values) {
    sum += v;
    sum_squares += v * v;
    sum_absolute += std::abs(v);
  }
  const auto n = static_cast<double>(values.size());
  const double mean = sum / n;
  stats->push_back(static_cast<float>(mean));
  stats->push_back(static_cast<float>(std::sqrt(std::max(0.0, sum_squares / n - mean * mean))));
  stats->push_back(static_cast<float>(sum_absolute / n));
}

/// Everything the reference stored about the slices of one picture under one setting.
void verify_slices(const Setting& setting, const Image& image, const WeightSource& expected, CaseChecker& checker) {
  const std::string prefix = setting.text + "/";
  const std::optional<Grid> grid = plan_slices({image.width, image.height}, setting.config).grid;
  checker.check_ints(prefix + "grid", std::vector<int64_t>{grid ? grid->cols : 0, grid ? grid->rows : 0});

  std::vector<int64_t> sizes, patch_grids, checksums;
  std::vector<float> stats, last_pixels;
  const std::vector<Image> slices = slice_image(image, setting.config);
  for (size_t k = 0; k < slices.size(); ++k) {
    const Image& slice = slices[k];
    const Patches patches = make_patches(slice, setting.config);
    sizes.insert(sizes.end(), {slice.width, slice.height});
    patch_grids.insert(patch_grids.end(), {patches.h, patches.w});
    checksums.push_back(crc32(slice.rgb));
    append_stats(patches.values, &stats);
    last_pixels = to_reference_layout(patches, setting.config.patch_size);

    const std::string name = fmt::format("{}slice{}", prefix, k);
    if (checker.has(name + "_u8")) {
      checker.check_ints(name + "_u8", std::vector<int64_t>(slice.rgb.begin(), slice.rgb.end()));
    }
    if (checker.has(name + "_pixel")) checker.check_floats(name + "_pixel", last_pixels, kPixelLimit);
  }
  checker.check_ints(prefix + "sizes", sizes);
  checker.check_ints(prefix + "tgt_sizes", patch_grids);
  checker.check_ints(prefix + "crc32", checksums);
  checker.check_floats(prefix + "stats", stats);

  // The sampled positions are given; they must lie inside the last slice.
  std::vector<int64_t> positions = read_ints(expected, prefix + "sample_idx");
  std::vector<float> samples;
  for (int64_t& position : positions) {
    position = std::clamp<int64_t>(position, 0, static_cast<int64_t>(last_pixels.size()) - 1);
    samples.push_back(last_pixels[static_cast<size_t>(position)]);
  }
  checker.check_ints(prefix + "sample_idx", positions);
  checker.check_floats(prefix + "sample_val", samples, kPixelLimit);
}

/// Rows of width, height, max_slice_nums, grid, size of the overview, size of the refined picture (0: none).
void verify_grid_table(const WeightSource& expected, CaseChecker& checker) {
  constexpr size_t kColumns = 9;
  const std::vector<int64_t> table = read_ints(expected, "grid_table");
  std::vector<int64_t> computed;
  for (size_t at = 0; at + kColumns <= table.size(); at += kColumns) {
    const int64_t* row = table.data() + at;
    const SlicePlan plan =
        plan_slices({static_cast<int>(row[0]), static_cast<int>(row[1])}, {.max_slice_nums = static_cast<int>(row[2])});
    const Grid grid = plan.grid.value_or(Grid{});
    computed.insert(computed.end(), {row[0], row[1], row[2], grid.cols, grid.rows, plan.overview.width,
                                     plan.overview.height, plan.refined.width, plan.refined.height});
  }
  checker.check_ints("grid_table", computed);
}

void report_texts(const std::string& name, std::span<const std::pair<std::string, std::string>> computed_and_expected,
                  const VerifyReporter& report) {
  VerifyItem item{"preprocess/" + name, 0, 0, false, ""};
  if (computed_and_expected.size() > 1) item.detail = fmt::format("{} texts", computed_and_expected.size());
  for (const auto& [computed, expected] : computed_and_expected) {
    if (computed == expected) continue;
    const auto [at, unused] = std::ranges::mismatch(computed, expected);
    if (item.error == 0) {
      item.detail = fmt::format("first difference at byte {} of {}, expected {} bytes", at - computed.begin(),
                                computed.size(), expected.size());
    }
    ++item.error;
  }
  item.ok = item.error == 0;
  report(item);
}

PlaceholderConfig placeholder_config(std::string_view processor, bool use_image_id) {
  if (processor == "v25") return {.layout = PlaceholderLayout::kOld, .queries_per_slice = 96, .use_image_id = false};
  return {.use_image_id = use_image_id};
}

/// `placeholder`: for each setting the text of its picture, by what the image number is.
void verify_placeholders(const JsonObject& texts, Pictures& pictures, const VerifyReporter& report) {
  for (const auto& [name, variants] : texts.json().items()) {
    const Setting setting = parse_setting(name, texts.source());
    const auto grid = plan_slices(pictures.size(setting.image), setting.config).grid;
    std::vector<std::pair<std::string, std::string>> rows;
    const JsonObject by_variant(variants, texts.source());
    for (const auto& [variant, unused] : variants.items()) {
      const bool use_id = variant == "id_on" || variant == "id_on_idx3";
      if (!use_id && variant != "id_off" && !variant.empty()) {
        fail(ErrorCode::kUnsupported, "{}: placeholder.{}.{} is of unknown kind", texts.source(), name, variant);
      }
      const PlaceholderConfig config = placeholder_config(setting.processor, use_id);
      rows.emplace_back(image_placeholder(config, variant == "id_on_idx3" ? 3 : 0, grid),
                        by_variant.find_string(variant).value_or(""));
    }
    report_texts("placeholder/" + name, rows, report);
  }
}

std::string require_string(const JsonObject& object, std::string_view key) {
  const auto text = object.find_string(key);
  if (!text) fail(ErrorCode::kBadFile, "{}: {} is missing", object.source(), key);
  return *text;
}

/// The pictures of one prompt as groups: still ones by name, or frames of one size in packs.
std::vector<MediaGroup> prompt_groups(const JsonObject& prompt, const SliceConfig& config, Pictures& pictures) {
  std::vector<MediaGroup> groups;
  if (const Json* names = prompt.find("images")) {
    for (const Json& name : *names) {
      if (!name.is_string()) fail(ErrorCode::kBadFile, "{}: images holds something else than names", prompt.source());
      groups.push_back({1, plan_slices(pictures.size(name.get<std::string>()), config).grid});
    }
    return groups;
  }
  const Json* size = prompt.find("frame_size");
  const Json* packs = prompt.find("temporal_ids");
  const auto is_int = [](const Json& value) { return value.is_number_integer(); };
  if (size == nullptr || packs == nullptr || size->size() != 2 || !std::ranges::all_of(*size, is_int)) {
    fail(ErrorCode::kBadFile, "{}: a prompt has neither images nor frame_size and temporal_ids", prompt.source());
  }
  const auto grid = plan_slices({(*size)[0].get<int>(), (*size)[1].get<int>()}, config).grid;
  for (const Json& pack : *packs)
    groups.push_back({static_cast<int>(pack.size()), grid});
  return groups;
}

/// `prompts`: the template's text and what the processor makes of it.
void verify_prompts(const JsonObject& texts, Pictures& pictures, const VerifyReporter& report) {
  for (const auto& [name, unused] : texts.json().items()) {
    const JsonObject prompt = texts.find_object(name).value();
    const auto args = prompt.find_object("args");
    const bool old_processor = name.ends_with("v25");
    const bool use_id = args ? args->find_bool("use_image_id").value_or(true) : true;
    SliceConfig config;
    if (args) config.max_slice_nums = static_cast<int>(args->find_int("max_slice_nums").value_or(9));

    const std::vector<PromptPiece> pieces = {{require_string(prompt, "template_text"), true}};
    const auto expanded = expand_image_marks(pieces, prompt_groups(prompt, config, pictures),
                                             placeholder_config(old_processor ? "v25" : "v45", use_id));
    const std::vector<std::pair<std::string, std::string>> rows = {
        {join(expanded), require_string(prompt, "final_text")}};
    report_texts("prompts/" + name, rows, report);
  }
}

}  // namespace

void verify_preprocess(const fs::path& folder, const VerifyReporter& report) {
  const auto expected = open_safetensors(folder / "expected.safetensors");
  CaseChecker checker("preprocess", *expected, report);
  Pictures pictures(folder);
  for (const StoredTensor& tensor : expected->tensors()) {
    constexpr std::string_view kLast = "/grid";  // every setting has this one
    if (!std::string_view(tensor.name).ends_with(kLast)) continue;
    const Setting setting =
        parse_setting(std::string_view(tensor.name).substr(0, tensor.name.size() - kLast.size()), expected->path());
    verify_slices(setting, pictures.get(setting.image), *expected, checker);
  }
  if (checker.has("grid_table")) verify_grid_table(*expected, checker);
  checker.finish();

  const std::string source = (folder / "texts.json").string();
  const Json json = parse_json(read_file(source, kCaseFileLimitBytes), source);
  const JsonObject texts(json, source);
  const auto placeholders = texts.find_object("placeholder"), prompts = texts.find_object("prompts");
  if (!placeholders || !prompts) fail(ErrorCode::kBadFile, "{}: placeholder or prompts is missing", source);
  verify_placeholders(*placeholders, pictures, report);
  verify_prompts(*prompts, pictures, report);
}

}  // namespace minicpm
