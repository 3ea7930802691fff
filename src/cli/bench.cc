#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/error.h"
#include "base/machine.h"
#include "base/thread_pool.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/chat.h"
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

/// The tests to run, in order.
struct Test {
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
      tests.push_back({fmt::format("pp{}{}", n, at_depth(depth)), n, depth, 1,
                       [=](Engine& engine) { return engine.bench_prefill_ms(n, depth); }});
    }
    for (int64_t n : or_default(options.bench_tokens, 64)) {
      if (n == 0) continue;
      for (int64_t sequences : or_default(options.bench_sequences, 1)) {
        const std::string parallel = sequences == 1 ? "" : fmt::format("x{}", sequences);
        tests.push_back({fmt::format("tg{}{}{}", n, parallel, at_depth(depth)), n * sequences, depth, sequences,
                         [=](Engine& engine) { return engine.bench_decode_ms(n, depth, sequences); }});
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
    tests.push_back({name, 0, 0, 1, [=](Engine& engine) { return engine.bench_vision_ms(size.width, size.height); }});
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

}  // namespace

int run_bench(const Options& options) {
  std::vector<Test> tests = text_tests(options);
  const std::vector<Test> pictures = vision_tests(options);
  EngineOptions settings = engine_options(options);
  if (!options.context && context_needed(tests) > kDefaultContext) settings.context_tokens = context_needed(tests);

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
  if (!options.json) {
    print(fmt::format("{}: {}, {}, {}\n", options.model, model.version().title, type, engine->backend_description()));
  }
  Json results = Json::array();
  for (const Test& test : tests) {
    const double ms = median_ms(test, *engine, repetitions);
    const double per_second = ms > 0 ? 1000.0 * static_cast<double>(test.tokens) / ms : 0.0;
    Json result = {{"test", test.name}};
    if (test.tokens > 0) result["tokens_per_second"] = per_second;
    result["ms"] = ms;
    result["threads"] = options.threads.value_or(usable_processors());
    result["model"] = options.model;
    result["version"] = model.version().title;
    result["type"] = type;
    result["backend"] = engine->backend_description();
    result["repetitions"] = repetitions;
    result["peak_rss_bytes"] = peak_rss_bytes();
    results.push_back(result);
    if (options.json) continue;
    const std::string speed = test.tokens > 0 ? fmt::format("{:>12.2f} tokens/s", per_second) : "";
    print(fmt::format("{:<20}{:>12.2f} ms{}\n", test.name, ms, speed));
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
