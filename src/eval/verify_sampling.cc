#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "engine/sampler.h"
#include "eval/case_data.h"
#include "eval/verify.h"
#include "io/safetensors.h"

namespace minicpm {
namespace {

constexpr size_t kCaseFileLimitBytes = 16u << 20;

/// Filter settings of one configuration. Unknown keys are an error: they would silently not be checked.
SamplingParams read_params(const JsonObject& config, std::string_view config_name) {
  SamplingParams params;
  const std::map<std::string_view, float*> numbers = {
      {"repetition_penalty", &params.repetition_penalty},
      {"temperature",        &params.temperature       },
      {"top_p",              &params.top_p             },
      {"min_p",              &params.min_p             },
  };
  for (const auto& [key, value] : config.json().items()) {
    const auto number = numbers.find(key);
    if (number == numbers.end() && key != "top_k") {
      fail(ErrorCode::kUnsupported, "{}: configs.{}.{} is not a known setting", config.source(), config_name, key);
    }
    const std::optional<double> found = config.find_number(key);
    if (!found) fail(ErrorCode::kBadFile, "{}: configs.{}.{} is null", config.source(), config_name, key);
    if (number != numbers.end()) {
      *number->second = static_cast<float>(*found);
    } else {
      params.top_k = static_cast<int>(std::clamp(*found, -1.0, 1e9));
    }
  }
  validate(params);
  return params;
}

/// "chat_sampling/probs.2" in parts.
struct ItemName {
  std::string config, what, row;
};
ItemName split_name(const std::string& name, const std::string& source) {
  const size_t slash = name.find('/');
  const size_t dot = name.rfind('.');
  if (slash == std::string::npos || dot == std::string::npos || dot < slash) {
    fail(ErrorCode::kBadFile, "{}: expected item {} is not named <config>/<what>.<row>", source, name);
  }
  return {name.substr(0, slash), name.substr(slash + 1, dot - slash - 1), name.substr(dot + 1)};
}

/// Generated ids so far. Throws Error bad_file for ids outside the vocabulary.
std::vector<int32_t> read_history(const WeightSource& inputs, const std::string& name, size_t vocab) {
  std::vector<int32_t> history;
  for (int64_t id : read_ints(inputs, name)) {
    if (id < 0 || id >= static_cast<int64_t>(vocab)) {
      fail(ErrorCode::kBadFile, "{}: {}: id {} is outside the {} logits", inputs.path(), name, id, vocab);
    }
    history.push_back(static_cast<int32_t>(id));
  }
  return history;
}

}  // namespace

void verify_sampling(const std::filesystem::path& folder, const VerifyReporter& report) {
  const std::string source = (folder / "case.json").string();
  const Json json = parse_json(read_file(source, kCaseFileLimitBytes), source);
  const JsonObject root(json, source);
  const auto configs = root.find_object("configs");
  const auto expected = root.find_object("expected");
  if (!configs || !expected) fail(ErrorCode::kBadFile, "{}: \"configs\" or \"expected\" is missing", source);
  const auto inputs = open_safetensors(folder / "inputs.safetensors");
  const auto answers = open_safetensors(folder / "expected.safetensors");

  CaseChecker checker("sampling", *answers, report);
  for (const auto& [full_name, unused] : expected->json().items()) {
    const ItemName name = split_name(full_name, source);
    const auto config = configs->find_object(name.config);
    if (!config) fail(ErrorCode::kBadFile, "{}: configs.{} is missing, which {} needs", source, name.config, full_name);

    std::vector<float> logits = read_floats(*inputs, "logits." + name.row);
    const size_t vocab = logits.size();
    const auto history = read_history(*inputs, "history." + name.row, vocab);
    const auto kept = candidates(logits, history, {}, read_params(*config, name.config));
    if (name.what == "probs") {
      std::vector<float> probabilities(vocab, 0.0f);
      for (const Candidate& c : kept)
        probabilities[static_cast<size_t>(c.id)] = c.probability;
      checker.check_floats(full_name, probabilities);
    } else if (name.what == "kept") {
      std::vector<int64_t> flags(vocab, 0);
      for (const Candidate& c : kept)
        flags[static_cast<size_t>(c.id)] = 1;
      checker.check_ints(full_name, flags);
    } else {
      fail(ErrorCode::kUnsupported, "{}: expected item {} is of unknown kind", source, full_name);
    }
  }
  checker.finish();
}

}  // namespace minicpm
