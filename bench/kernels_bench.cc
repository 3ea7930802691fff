// Speed of the matrix products: every weight format, with few and many rows of activations, at shapes of the released
// models. Prints one line per case and, with --json, an array of objects. Gop/s counts a multiply and an add as two;
// GB/s counts the bytes of the weights, which for one row of activations is what the memory must deliver. The memory's
// own speed is measured beside it, because that drifts on shared machines.
#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernels/select.h"
#include "backend/cpu/linear.h"
#include "base/json.h"
#ifdef MINICPM_ONEDNN
#include "onednn.h"
#endif

namespace {

using namespace minicpm;
using Clock = std::chrono::steady_clock;

// Larger than the caches of the machines this runs on, so that weights come from memory as in a real model.
constexpr int64_t kPoolBytes = int64_t{384} << 20;

struct Shape {
  int64_t rows, n, k;
};
constexpr Shape kModelShapes[] = {{1, 3072, 1024},   {1, 12288, 4096},  {4, 12288, 4096},
                                  {16, 12288, 4096}, {512, 3072, 1024}, {512, 12288, 4096}};
constexpr Shape kVisionShapes[] = {{1024, 4304, 1152}, {1024, 1152, 4304}};
constexpr DType kFormats[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,   DType::kQ4_1,
                              DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K,   DType::kQ3_K,
                              DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};

struct Options {
  int threads = 0;
  std::string isa;
  std::string filter;
  std::vector<std::string> shapes;
  std::string json;
  double seconds = 0.5;
  bool exact = false, half = false;
  bool processor_time = false;
  bool onednn = false;
};

/// Bytes that read as small finite numbers in every format: scales are f16 or bf16 with a middling exponent.
std::vector<uint8_t> weight_bytes() {
  std::vector<uint8_t> bytes(kPoolBytes);
  uint64_t state = 1;
  for (uint8_t& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<uint8_t>(state >> 58);  // below 64
  }
  return bytes;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
double processor_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Times of repeated calls, sorted.
template <typename Fn>
std::vector<double> measure(double seconds, bool processor_time, Fn&& fn) {
  fn();
  std::vector<double> times;
  const Clock::time_point start = Clock::now();
  while (times.size() < 5 || seconds_since(start) < seconds) {
    const Clock::time_point begin = Clock::now();
    const double processor_begin = processor_seconds();
    fn();
    times.push_back(processor_time ? processor_seconds() - processor_begin : seconds_since(begin));
  }
  std::sort(times.begin(), times.end());
  return times;
}

/// Bytes per second that all threads together read.
double memory_speed(ThreadPool& pool, const std::vector<uint8_t>& bytes) {
  constexpr int64_t kPart = int64_t{1} << 20;
  std::vector<uint64_t> sums(static_cast<size_t>(kPoolBytes / kPart));
  const std::vector<double> times = measure(0.2, false, [&] {
    pool.run(kPoolBytes / kPart, [&](int64_t part, int) {
      const auto* p = reinterpret_cast<const uint64_t*>(bytes.data() + part * kPart);
      uint64_t sum = 0;
      for (int64_t i = 0; i < kPart / 8; ++i)
        sum += p[i];
      sums[static_cast<size_t>(part)] = sum;
    });
  });
  return static_cast<double>(kPoolBytes) / times.front();
}

Json run_case(ThreadPool& pool, cpu::Linear& linear, const std::vector<uint8_t>& bytes, DType dtype, const Shape& shape,
              const Options& options) {
  std::vector<float> x(static_cast<size_t>(shape.rows * shape.k)), out(static_cast<size_t>(shape.rows * shape.n));
  std::mt19937 random(2);
  for (float& value : x)
    value = std::normal_distribution<float>()(random);
  Weight w;
  w.dtype = dtype;
  w.rank = 2;
  w.dims[0] = shape.n;
  w.dims[1] = shape.k;
  const int64_t copies = std::max<int64_t>(1, kPoolBytes / w.bytes());
  int64_t copy = 0;
  const Precision precision = options.exact ? Precision::kExact : options.half ? Precision::kHalf : Precision::kFast;
  const std::vector<double> times = measure(options.seconds, options.processor_time, [&] {
    w.data = bytes.data() + copy * w.bytes();
    copy = (copy + 1) % copies;
    const LinearTarget target = {Tensor(out.data(), DType::kF32, {shape.rows, shape.n}), w, {}};
    linear.run({&target, 1}, Tensor(x.data(), DType::kF32, {shape.rows, shape.k}), precision);
  });
  const double best = times.front(), median = times[times.size() / 2];
  const double operations = 2.0 * static_cast<double>(shape.rows * shape.n * shape.k);
  const auto weight = static_cast<double>(w.bytes());
  const double memory = shape.rows <= 16 ? memory_speed(pool, bytes) : 0.0;
  fmt::print("{:8} {:5} x {:5} x {:5}  best {:9.1f} us {:7.1f} Gop/s {:6.1f} GB/s  median {:7.1f} Gop/s {:6.1f} GB/s",
             name(dtype), shape.rows, shape.n, shape.k, best * 1e6, operations / best / 1e9, weight / best / 1e9,
             operations / median / 1e9, weight / median / 1e9);
  if (memory > 0.0) fmt::print("  memory {:5.1f} GB/s", memory / 1e9);
  fmt::print("\n");
  std::fflush(stdout);
  return Json{{"type", name(dtype)},
              {"rows", shape.rows},
              {"n", shape.n},
              {"k", shape.k},
              {"best_us", best * 1e6},
              {"median_us", median * 1e6},
              {"best_gops", operations / best / 1e9},
              {"best_gb_per_s", weight / best / 1e9},
              {"memory_gb_per_s", memory / 1e9}};
}

std::vector<Shape> shapes_for(DType dtype, const Options& options) {
  if (!options.shapes.empty()) {
    std::vector<Shape> shapes;
    for (const std::string& text : options.shapes) {
      Shape shape;
      if (std::sscanf(text.c_str(), "%" SCNd64 "x%" SCNd64 "x%" SCNd64, &shape.rows, &shape.n, &shape.k) != 3) {
        fail(ErrorCode::kInvalidRequest, "shape \"{}\" is not of the form ROWSxNxK", text);
      }
      shapes.push_back(shape);
    }
    return shapes;
  }
  std::vector<Shape> shapes(std::begin(kModelShapes), std::end(kModelShapes));
  if (dtype == DType::kF16 || dtype == DType::kBF16) {
    shapes.insert(shapes.end(), std::begin(kVisionShapes), std::end(kVisionShapes));
  }
  return shapes;
}

void write_json(const std::string& path, const Json& results) {
  if (path.empty()) return;
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) fail(ErrorCode::kIo, "cannot write {}", path);
  fmt::print(file, "{}\n", results.dump(1));
  std::fclose(file);
}

#ifdef MINICPM_ONEDNN
// Layers of Qwen3-0.6B and Qwen3-8B with 512 rows: q, k or v, o, gate or up, down.
constexpr Shape kLayerShapes[] = {{512, 2048, 1024}, {512, 1024, 1024},  {512, 1024, 2048},
                                  {512, 3072, 1024}, {512, 1024, 3072},  {512, 4096, 4096},
                                  {512, 1024, 4096}, {512, 12288, 4096}, {512, 4096, 12288}};
// Our weights and what oneDNN multiplies instead.
constexpr std::pair<DType, DType> kYardsticks[] = {
    {DType::kF32, DType::kF32}, {DType::kBF16, DType::kBF16}, {DType::kQ8_0, DType::kI8}};

/// Our time over oneDNN's, each the best of the same number of turns. Ours begins with f32 activations and the weights
/// of the file; oneDNN's operands are prepared.
Json compare(ThreadPool& pool, cpu::Linear& linear, const std::vector<uint8_t>& bytes, std::pair<DType, DType> types,
             const Shape& shape, double seconds) {
  std::vector<float> x(static_cast<size_t>(shape.rows * shape.k), 0.5f), out(static_cast<size_t>(shape.rows * shape.n));
  Weight w;
  w.dtype = types.first;
  w.rank = 2;
  w.dims[0] = shape.n;
  w.dims[1] = shape.k;
  w.data = bytes.data();
  const LinearTarget target = {Tensor(out.data(), DType::kF32, {shape.rows, shape.n}), w, {}};
  OneDnnProduct other(types.second, {shape.rows, shape.n, shape.k}, pool.num_threads());
  double best = 1e9, best_other = 1e9;
  for (int turn = 0; turn < 3; ++turn) {
    best = std::min(best,
                    measure(seconds / 6, false, [&] {
                      linear.run({&target, 1}, Tensor(x.data(), DType::kF32, {shape.rows, shape.k}), Precision::kFast);
                    }).front());
    best_other = std::min(best_other, measure(seconds / 6, false, [&] { other.run(); }).front());
  }
  const double operations = 2.0 * static_cast<double>(shape.rows * shape.n * shape.k);
  fmt::print("{:6} {:4} x {:5} x {:5}  ours {:9.1f} us {:7.1f} Gop/s  oneDNN {:9.1f} us {:7.1f} Gop/s  ratio {:5.2f}\n",
             name(types.first), shape.rows, shape.n, shape.k, best * 1e6, operations / best / 1e9, best_other * 1e6,
             operations / best_other / 1e9, best / best_other);
  std::fflush(stdout);
  return {{"type", name(types.first)},
          {"rows", shape.rows},
          {"n", shape.n},
          {"k", shape.k},
          {"best_us", best * 1e6},
          {"onednn_us", best_other * 1e6},
          {"time_over_onednn", best / best_other}};
}

void run_yardstick(const Options& options) {
  const cpu::Isa& isa = cpu::select_isa(options.isa);
  ThreadPool pool(options.threads);
  cpu::Linear linear(pool, cpu::linear_kernels(isa.name));
  const std::vector<uint8_t> bytes = weight_bytes();
  fmt::print("{}, {} threads, our time over oneDNN's\n", isa.name, pool.num_threads());
  Json results = Json::array();
  for (const auto& types : kYardsticks) {
    if (!options.filter.empty() && options.filter != name(types.first)) continue;
    for (const Shape& shape : kLayerShapes)
      results.push_back(compare(pool, linear, bytes, types, shape, options.seconds));
  }
  write_json(options.json, results);
}
#else
void run_yardstick(const Options&) {
  fail(ErrorCode::kUnsupported, "this build has no oneDNN (Debian: libdnnl-dev)");
}
#endif

void run(const Options& options) {
  if (options.onednn) return run_yardstick(options);
  const cpu::Isa& isa = cpu::select_isa(options.isa);
  ThreadPool pool(options.threads);
  cpu::Linear linear(pool, cpu::linear_kernels(isa.name));
  const std::vector<uint8_t> bytes = weight_bytes();
  fmt::print("{}, {} threads, {}\n", isa.name, pool.num_threads(),
             options.exact  ? "exact"
             : options.half ? "half"
                            : "fast");
  Json results = Json::array();
  for (DType dtype : kFormats) {
    if (!options.filter.empty() && options.filter != name(dtype)) continue;
    for (const Shape& shape : shapes_for(dtype, options))
      results.push_back(run_case(pool, linear, bytes, dtype, shape, options));
  }
  write_json(options.json, results);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Speed of the matrix products");
  app.add_option("--threads", options.threads, "threads; 0: one per processor");
  app.add_option("--isa", options.isa, "instruction set; the best one by default");
  app.add_option("--type", options.filter, "only this weight format");
  app.add_option("--shape", options.shapes, "only these shapes, for example 512x3072x1024 (rows, n, k)");
  app.add_option("--seconds", options.seconds, "time for each case");
  app.add_flag("--exact", options.exact, "f32 activations");
  app.add_flag("--half", options.half, "bf16 activations for f16 and f32 weights");
  app.add_flag("--processor-time", options.processor_time,
               "processor time instead of elapsed time: for one thread on a busy machine");
  app.add_flag("--onednn", options.onednn, "compare with oneDNN at the shapes of language models");
  app.add_option("--json", options.json, "also write the results to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "kernels_bench: {}\n", e.what());
    return 1;
  }
  return 0;
}
