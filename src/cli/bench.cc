#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/machine.h"
#include "base/thread_pool.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/chat.h"
#include "eval/machine_limits.h"
#include "eval/workload.h"
#include "models/loaded_model.h"

namespace minicpm::cli {
namespace {

constexpr int64_t kRepetitions = 3;
constexpr int kLargestSide = 16384;
constexpr int64_t kDefaultContext = 8192;  // what the engine makes room for when nothing is said

struct PictureSize {
  int width = 0;
  int height = 0;
};

PictureSize read_size(const std::string& text) {
  PictureSize size;
  const char* const end = text.data() + text.size();
  const auto [middle, width_error] = std::from_chars(text.data(), end, size.width);
  const bool has_height = width_error == std::errc() && middle != end && *middle == 'x';
  if (has_height) {
    const auto [last, height_error] = std::from_chars(middle + 1, end, size.height);
    const bool inside = std::min(size.width, size.height) >= 1 && std::max(size.width, size.height) <= kLargestSide;
    if (height_error == std::errc() && last == end && inside) return size;
  }
  fail(ErrorCode::kInvalidRequest, "--image needs a size such as 448x448, at most {} a side, but got \"{}\"",
       kLargestSide, text);
}

enum class Kind { kRead, kWrite, kPicture };

/// The tests to run, in order.
struct Test {
  Kind kind;
  std::string name;
  int64_t tokens = 0;  // processed per run; 0: the result is a time
  int64_t depth = 0;
  int64_t sequences = 1;
  std::function<double(Engine&)> run_ms;
};

std::string at_depth(int64_t depth) {
  return depth == 0 ? "" : fmt::format("@d{}", depth);
}

std::vector<Test> text_tests(const Options& options) {
  const auto or_default = [](const std::vector<int64_t>& given, int64_t value) {
    return given.empty() ? std::vector<int64_t>{value} : given;
  };
  std::vector<Test> tests;
  for (int64_t depth : or_default(options.bench_depths, 0)) {
    for (int64_t n : or_default(options.bench_prompts, 512)) {
      if (n == 0) continue;  // `-p 0` leaves the test out
      tests.push_back({Kind::kRead, fmt::format("pp{}{}", n, at_depth(depth)), n, depth, 1,
                       [=](Engine& engine) { return engine.bench_prefill_ms(n, depth); }});
    }
    for (int64_t n : or_default(options.bench_tokens, 64)) {
      if (n == 0) continue;
      for (int64_t sequences : or_default(options.bench_sequences, 1)) {
        const std::string parallel = sequences == 1 ? "" : fmt::format("x{}", sequences);
        tests.push_back({Kind::kWrite, fmt::format("tg{}{}{}", n, parallel, at_depth(depth)), n * sequences, depth,
                         sequences, [=](Engine& engine) { return engine.bench_decode_ms(n, depth, sequences); }});
      }
    }
  }
  return tests;
}

std::vector<Test> vision_tests(const Options& options) {
  std::vector<std::string> sizes = options.bench_images;
  if (sizes.empty()) sizes = {"448x448", "1344x896"};
  std::vector<Test> tests;
  for (const std::string& text : sizes) {
    const PictureSize size = read_size(text);
    const std::string name = size.width == size.height ? fmt::format("vision-{}", size.width) : "vision-" + text;
    tests.push_back({Kind::kPicture, name, 0, 0, 1,
                     [=](Engine& engine) { return engine.bench_vision_ms(size.width, size.height); }});
  }
  return tests;
}

/// The tokens that the largest test needs room for.
int64_t context_needed(const std::vector<Test>& tests) {
  int64_t most = 0;
  for (const Test& test : tests)
    most = std::max(most, test.depth * test.sequences + test.tokens + 64 * test.sequences);
  return most;
}

double median_ms(const Test& test, Engine& engine, int64_t repetitions) {
  test.run_ms(engine);  // warms caches and maps the weights
  std::vector<double> times;
  for (int64_t i = 0; i < repetitions; ++i)
    times.push_back(test.run_ms(engine));
  std::sort(times.begin(), times.end());
  const size_t middle = times.size() / 2;
  return times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

/// The most tokens a second that this machine allows, and what sets that limit.
struct Bound {
  std::string_view name;
  double tokens_per_second = 0;
};

// The bound of a test: writing reads memory, reading computes.
std::optional<Bound> bound_of(const Test& test, const LoadedModel& model, const EngineOptions& settings,
                              const MachineLimits& limits) {
  const auto tokens = static_cast<double>(test.tokens);
  const Decoder& decoder = model.decoder();
  if (test.kind == Kind::kWrite) {
    const DecodeRun run{test.tokens / test.sequences, std::max<int64_t>(1, test.depth), test.sequences};
    return Bound{"memory", tokens * limits.read_all / decode_bytes(decoder, settings.kv_type, run)};
  }
  if (test.kind != Kind::kRead) return std::nullopt;
  const double operations = prefill_operations(decoder, test.tokens, test.depth);
  Bound bound{"f32", limits.f32.per_second};
  switch (arithmetic_of(decoder.weights().layers.at(0).gate.dtype, settings.precision)) {
    case Arithmetic::kInt8:
      if (limits.int8.per_second > 0) bound = {"int8", limits.int8.per_second};
      break;
    case Arithmetic::kBf16:
      if (limits.bf16.per_second > 0) bound = {"bf16", limits.bf16.per_second};
      break;
    case Arithmetic::kF32:
      break;
  }
  if (bound.tokens_per_second <= 0) return std::nullopt;
  bound.tokens_per_second *= tokens / operations;
  return bound;
}

// Measured before the model is loaded, and what that takes of memory is not the model's.
std::optional<MachineLimits> limits_wanted(const Options& options) {
  if (!options.limits) return std::nullopt;
  const MachineLimits limits = measure_limits({.threads = static_cast<int>(options.threads.value_or(0))});
  forget_peak_rss();
  return limits;
}

Json limits_json(const MachineLimits& limits) {
  const auto peak = [](const ArithmeticPeak& peak) { return peak.per_second > 0 ? Json(peak.per_second) : Json(); };
  return {{"test", "limits"},
          {"threads", limits.threads},
          {"read_bytes_per_second_one_thread", limits.read_one},
          {"read_bytes_per_second", limits.read_all},
          {"int8_operations_per_second", peak(limits.int8)},
          {"bf16_operations_per_second", peak(limits.bf16)},
          {"f32_operations_per_second", peak(limits.f32)}};
}

std::string limits_text(const MachineLimits& limits) {
  std::string text = fmt::format("limits with {} thread{}: memory {:.1f} GB/s (one thread {:.1f})", limits.threads,
                                 limits.threads == 1 ? "" : "s", limits.read_all / 1e9, limits.read_one / 1e9);
  const auto add = [&](std::string_view name, const ArithmeticPeak& peak) {
    if (peak.per_second > 0)
      text += fmt::format(", {} {:.2f} Top/s ({})", name, peak.per_second / 1e12, peak.instruction);
  };
  add("int8", limits.int8);
  add("bf16", limits.bf16);
  add("f32", limits.f32);
  return text + "\n";
}

/// A test's result as it is printed and as JSON.
struct Result {
  const Test* test;
  double ms = 0;
  std::optional<Bound> bound;

  double per_second() const { return ms > 0 ? 1000.0 * static_cast<double>(test->tokens) / ms : 0.0; }
  double share() const { return per_second() / bound->tokens_per_second; }

  std::string text() const {
    std::string line = fmt::format("{:<20}{:>12.2f} ms", test->name, ms);
    if (test->tokens > 0) line += fmt::format("{:>12.2f} tokens/s", per_second());
    if (bound) line += fmt::format("{:>6.1f} % of {}", 100 * share(), bound->name);
    return line + "\n";
  }

  Json json() const {
    Json result = {{"test", test->name}};
    if (test->tokens > 0) result["tokens_per_second"] = per_second();
    result["ms"] = ms;
    if (bound) {
      result["limit"] = bound->name;
      result["limit_tokens_per_second"] = bound->tokens_per_second;
      result["limit_share"] = share();
    }
    return result;
  }
};

}  // namespace

int run_bench(const Options& options) {
  std::vector<Test> tests = text_tests(options);
  const std::vector<Test> pictures = vision_tests(options);
  EngineOptions settings = engine_options(options);
  if (!options.context && context_needed(tests) > kDefaultContext) settings.context_tokens = context_needed(tests);

  const std::optional<MachineLimits> limits = limits_wanted(options);
  const auto engine = Engine::load(model_spec(options), settings);
  const LoadedModel& model = engine->model();
  if (model.has_vision()) {
    tests.insert(tests.end(), pictures.begin(), pictures.end());
  } else if (!options.bench_images.empty()) {
    fail(ErrorCode::kInvalidRequest, "{} has no vision tower, so --image cannot be measured", options.model);
  }
  // Formats are often mixed; the matrices of the MLP are most of a model.
  const std::string type(name(model.decoder().weights().layers.at(0).gate.dtype));
  const int64_t repetitions = options.repetitions.value_or(kRepetitions);
  Json results = Json::array();
  if (limits) results.push_back(limits_json(*limits));
  if (!options.json) {
    print(fmt::format("{}: {}, {}, {}\n", options.model, model.version().title, type, engine->backend_description()));
    if (limits) print(limits_text(*limits));
  }
  for (const Test& test : tests) {
    Result result{&test, median_ms(test, *engine, repetitions), std::nullopt};
    if (limits) result.bound = bound_of(test, model, settings, *limits);
    Json json = result.json();
    json["threads"] = options.threads.value_or(usable_processors());
    json["model"] = options.model;
    json["version"] = model.version().title;
    json["type"] = type;
    json["backend"] = engine->backend_description();
    json["repetitions"] = repetitions;
    json["peak_rss_bytes"] = peak_rss_bytes();
    results.push_back(std::move(json));
    if (options.json) continue;
    print(result.text());
    flush_output();
  }
  if (options.json) {
    print_json(results);
  } else {
    print(fmt::format("peak memory {}\n", bytes_text(peak_rss_bytes())));
  }
  return kExitOk;
}

}  // namespace minicpm::cli
