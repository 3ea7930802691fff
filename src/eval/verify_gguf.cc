// The GGUF set: dequantised rows, logits of small models in every format, and a projector.
#include <algorithm>
#include <cmath>

#include "base/file_map.h"
#include "engine/generator.h"
#include "eval/case_data.h"
#include "io/gguf.h"
#include "io/npy.h"
#include "models/loaded_model.h"
#include "quant/format.h"

namespace minicpm {
namespace {

constexpr size_t kMaxCaseBytes = 64u << 20;
constexpr double kRowLimit = 1e-6;
constexpr double kExactLimit = 1e-4;
// With 8-bit activations a product loses what the other implementation loses too, within this factor.
constexpr double kPeerFactor = 1.5;
// The reference values of the projector come from f16 arithmetic.
constexpr double kProjectorLimit = 0.01;

struct GgufCase {
  std::filesystem::path folder;
  const VerifyOptions& options;
  const VerifyReporter& report;

  void item(const std::string& name, double error, double limit, std::string detail = "") const {
    report({"gguf/" + name, error, limit, error <= limit, std::move(detail)});
  }
};

void check_rows(const GgufCase& c, const Json& rows) {
  const auto file = GgufFile::open(c.folder / rows.at("gguf").get<std::string>());
  for (const Json& type : rows.at("types")) {
    const std::string name = type.get<std::string>();
    const NpyArray expected = read_npy(c.folder / "rows" / (name + ".npy"));
    const StoredTensor* found = nullptr;
    for (const StoredTensor& tensor : file->tensors()) {
      if (minicpm::name(tensor.view.dtype) == name) found = &tensor;
    }
    if (found == nullptr) fail(ErrorCode::kBadFile, "{}: holds no tensor of type {}", file->path(), name);
    const Weight& w = found->view;
    std::vector<float> actual(w.rows() * w.cols());
    for (int64_t r = 0; r < w.rows(); ++r)
      dequantize_row(w.dtype, w.row(r), actual.data() + r * w.cols(), w.cols());
    c.item("rows/" + name, relative_l2(actual, expected.f32()), kRowLimit);
  }
}

/// Logits of all rows of one prompt.
std::vector<float> all_logits(const LoadedModel& model, Backend& backend, std::vector<int32_t> tokens,
                              Precision precision, DType kv_type) {
  struct LogitsOnly : Tracer {
    std::vector<float> values;
    void record(std::string_view name, const Tensor& t) override {
      if (name == "logits") values.assign(t.f32(), t.f32() + t.numel());
    }
  } tracer;
  Sequence sequence;
  sequence.prompt_tokens = static_cast<int64_t>(tokens.size());
  sequence.tokens = std::move(tokens);
  KvCache cache(model.config().decoder, kv_type, sequence.prompt_tokens);
  Scheduler scheduler(cache, sequence.prompt_tokens);
  Runner runner(model, backend, cache, {.precision = precision});
  runner.set_tracer(&tracer);
  runner.set_all_logits(true);
  scheduler.add(sequence);
  runner.run(scheduler.next());
  scheduler.remove(sequence);
  return tracer.values;
}

double rms_difference(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < b.size(); ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::sqrt(sum / static_cast<double>(b.size()));
}

void check_logits(const GgufCase& c, Backend& backend, const Json& entry) {
  const std::string name = entry.at("name").get<std::string>();
  auto file = GgufFile::open(c.folder / entry.at("model").get<std::string>());
  ModelConfig config = read_gguf_config(*file, nullptr);
  const auto model = LoadedModel::load_networks(std::move(config), std::move(file), nullptr);
  const auto tokens = entry.at("tokens").get<std::vector<int32_t>>();
  const NpyArray reference = read_npy(c.folder / entry.at("logits_ref").get<std::string>());

  const auto exact = all_logits(*model, backend, tokens, Precision::kExact, DType::kF32);
  c.item(name + "/exact", relative_l2(exact, reference.f32()), kExactLimit);
  const int64_t vocab = model->config().decoder.vocab_size;
  const auto best = entry.at("argmax_ref").get<std::vector<int64_t>>();
  double different = 0;
  for (size_t row = 0; row < best.size(); ++row) {
    const auto first = exact.begin() + static_cast<int64_t>(row) * vocab;
    different += std::max_element(first, first + vocab) - first != best[row];
  }
  c.item(name + "/argmax", different, 0);

  const auto fast = all_logits(*model, backend, tokens, Precision::kFast, DType::kF16);
  const double peer = entry.at("peer_quantised_error").at("rms").get<double>();
  c.item(name + "/fast", rms_difference(fast, reference.f32()), kPeerFactor * peer,
         fmt::format("root mean square; the other implementation's is {:.3g}", peer));
}

/// The picture whose size is the tower's own, so that no resampling takes part.
void check_projector(const GgufCase& c, Backend& backend) {
  auto projector = GgufFile::open(c.folder / "mmproj" / "tiny-v45-F16.gguf");
  auto language = GgufFile::open(c.folder / "models" / "qwen3-Q4_K.gguf");  // of the projector's width
  ModelConfig config = read_gguf_config(*language, projector.get());
  const auto model = LoadedModel::load_networks(std::move(config), std::move(language), std::move(projector));
  const NpyArray pixels = read_npy(c.folder / "mmproj" / "img448x448.rgb.npy");
  const Image image{448, 448, {pixels.u8().begin(), pixels.u8().end()}};
  const Patches patches = make_patches(image, model->config().slices);
  const NpyArray expected = read_npy(c.folder / "mmproj" / "img448x448.emb0.npy");

  Arena arena;
  Context ctx{backend, arena, Precision::kExact};
  const Patches* slices[] = {&patches};
  const ResamplerGroup groups[] = {{{{patches.h, patches.w}}, {}}};
  const Tensor rows = model->encode(ctx, slices, groups);
  double worst = 0, largest = 0;
  for (size_t i = 0; i < expected.f32().size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(rows.f32()[i]) - expected.f32()[i]));
    largest = std::max(largest, std::abs(static_cast<double>(expected.f32()[i])));
  }
  c.item("mmproj/img448x448", worst / largest, kProjectorLimit, "largest difference over largest value");
}

}  // namespace

void verify_gguf(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report) {
  const auto case_file = folder / "cases.json";
  const Json json = parse_json(read_file(case_file, kMaxCaseBytes), case_file.string());
  const GgufCase c{folder, options, report};
  const auto backend = make_cpu_backend(options.backend);
  check_rows(c, json.at("rows"));
  for (const Json& entry : json.at("logits"))
    check_logits(c, *backend, entry);
  if (std::filesystem::exists(folder / "mmproj")) check_projector(c, *backend);
}

}  // namespace minicpm
