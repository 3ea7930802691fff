// Cases that run a whole network: the language model alone, the vision part alone, and both together.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/file_map.h"
#include "engine/generator.h"
#include "eval/case_data.h"
#include "io/safetensors.h"
#include "models/loaded_model.h"

namespace minicpm {
namespace {

constexpr size_t kMaxCaseBytes = 64u << 20;

/// Keeps every traced tensor; chunks of one name are joined.
class Recorder : public Tracer {
 public:
  void record(std::string_view name, const Tensor& value) override {
    auto& values = tensors_[std::string(name)];
    values.insert(values.end(), value.f32(), value.f32() + value.numel());
  }
  const std::vector<float>& at(const std::string& name) const {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) fail(ErrorCode::kInternal, "no intermediate of the name {} was recorded", name);
    return it->second;
  }
  void clear() { tensors_.clear(); }

 private:
  std::map<std::string, std::vector<float>> tensors_;
};

std::span<const float> last_rows(std::span<const float> values, int64_t rows, int64_t width) {
  return values.last(static_cast<size_t>(rows * width));
}

/// One reference case with the model it runs on.
class ModelCase {
 public:
  ModelCase(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report)
      : folder_(folder),
        json_(parse_json(read_file(folder / "case.json", kMaxCaseBytes), (folder / "case.json").string())),
        expected_(open_safetensors(folder / "expected.safetensors")),
        inputs_(open_safetensors(folder / "inputs.safetensors")),
        checker_(json_.at("case").get<std::string>(), *expected_, report),
        backend_(make_cpu_backend(options.backend)) {
    const std::filesystem::path config_folder = sibling("config_from", sibling("weights_from", folder));
    const auto preprocessor = config_folder / "preprocessor_config.json";
    ModelConfig config = read_hf_config(
        std::filesystem::exists(folder / "config.json") ? folder / "config.json" : config_folder / "config.json",
        std::filesystem::exists(preprocessor) ? preprocessor : std::filesystem::path());
    model_ = LoadedModel::load_networks(
        std::move(config), open_safetensors(sibling("weights_from", folder) / "model.safetensors"), nullptr);
  }

  void run() {
    if (inputs_->find("input_ids") != nullptr) {
      check_language();
    } else {
      check_vision();
    }
    checker_.finish();
  }

 private:
  std::filesystem::path sibling(const char* key, const std::filesystem::path& fallback) const {
    return json_.contains(key) ? folder_.parent_path() / json_.at(key).get<std::string>() : fallback;
  }

  MediaItem read_media(const std::string& prefix, const std::string& temporal_key) const {
    return read_case_media(*inputs_, json_, prefix, temporal_key, model_->config().vision->patch_size);
  }

  void check_split(const std::string& expected_prefix, const std::string& trace, std::span<const Patches> slices) {
    const std::vector<float>& values = recorder_.at(trace);
    const int64_t width = model_->config().vision->hidden_size;
    size_t at = 0;
    for (size_t i = 0; i < slices.size(); ++i) {
      const auto size = static_cast<size_t>(int64_t{slices[i].h} * slices[i].w * width);
      const std::string name = fmt::format("{}.{}", expected_prefix, i);
      if (checker_.has(name)) checker_.check_floats(name, std::span(values).subspan(at, size));
      at += size;
    }
  }

  void check_buckets() {
    const int64_t grid = model_->config().vision->grid_size;
    std::vector<int64_t> table(static_cast<size_t>(grid * grid), -1);
    for (int64_t n = 1; n <= grid; ++n)
      std::ranges::copy(position_buckets(n, grid), table.begin() + (n - 1) * grid);
    checker_.check_ints("pos_bucket_table", table);
  }

  void check_vision() {
    if (checker_.has("pos_bucket_table")) check_buckets();
    for (const StoredTensor& tensor : inputs_->tensors()) {
      const size_t slash = tensor.name.find("/tgt_sizes");
      if (slash == std::string::npos) continue;
      const std::string name = tensor.name.substr(0, slash);
      const MediaItem item = read_media(name + "/", "temporal_ids_" + name);
      recorder_.clear();
      Arena arena;
      Context ctx{*backend_, arena, Precision::kExact, &recorder_};
      std::vector<const Patches*> slices;
      for (const Patches& slice : item.slices)
        slices.push_back(&slice);
      model_->encode(ctx, slices, item.groups);
      check_split(name + "/embeddings", "vision.embeddings", item.slices);
      for (int64_t i = 0; i < model_->config().vision->num_layers; ++i) {
        check_split(fmt::format("{}/layer{}", name, i), fmt::format("vision.layer{}", i), item.slices);
      }
      check_split(name + "/vit", "vision.output", item.slices);
      checker_.check_floats(name + "/resampler", recorder_.at("resampler"));
    }
  }

  std::shared_ptr<MediaItem> read_sound_item() const {
    auto item = std::make_shared<MediaItem>();
    const std::vector<float> features = read_floats(*inputs_, "audio_features");  // [pieces, bins, frames]
    const std::vector<int64_t> shape = read_shape(*inputs_, "audio_features");
    for (int64_t p = 0; p < shape[0]; ++p) {
      MelFrames mel{shape[2], shape[1], std::vector<float>(static_cast<size_t>(shape[1] * shape[2]))};
      for (int64_t b = 0; b < mel.bins; ++b) {
        for (int64_t t = 0; t < mel.frames; ++t)
          mel.values[t * mel.bins + b] = features[(p * mel.bins + b) * mel.frames + t];
      }
      item->sounds.push_back(std::move(mel));
    }
    const std::vector<int64_t> bounds = read_ints(*inputs_, "audio_bounds");
    for (size_t i = 0; i < bounds.size(); i += 2) {
      item->spans.push_back(bounds[i]);
      item->span_rows.push_back(bounds[i + 1] - bounds[i]);
    }
    return item;
  }

  Sequence read_sequence() const {
    Sequence sequence;
    for (int64_t id : read_ints(*inputs_, "input_ids"))
      sequence.tokens.push_back(static_cast<int32_t>(id));
    sequence.prompt_tokens = static_cast<int64_t>(sequence.tokens.size());
    if (inputs_->find("image_bound") != nullptr) {
      auto item = std::make_shared<MediaItem>(read_media("", "temporal_ids"));
      const std::vector<int64_t> bounds = read_ints(*inputs_, "image_bound");
      for (size_t i = 0; i < bounds.size(); i += 2) {
        item->spans.push_back(bounds[i]);
        item->span_rows.push_back(bounds[i + 1] - bounds[i]);
      }
      MINICPM_CHECK(item->spans.size() == item->groups.size());
      sequence.media.push_back(std::move(item));
    }
    if (inputs_->find("audio_bounds") != nullptr) sequence.media.push_back(read_sound_item());
    sequence.media_rows.resize(sequence.media.size());
    return sequence;
  }

  void check_language() {
    Sequence sequence = read_sequence();
    KvCache cache(model_->config().decoder, DType::kF32, 4 * (sequence.prompt_tokens + 256));
    Scheduler scheduler(cache, sequence.prompt_tokens);
    Runner runner(*model_, *backend_, cache, {.precision = Precision::kExact});
    runner.set_tracer(&recorder_);
    runner.set_all_logits(true);
    scheduler.add(sequence);
    const StepPlan plan = scheduler.next();
    runner.run(plan);
    scheduler.detach(sequence);
    check_traces(sequence);

    runner.set_tracer(nullptr);
    runner.set_all_logits(false);
    check_generation(scheduler, runner, sequence);
    check_short_prompt("", *model_);
    if (std::filesystem::exists(folder_ / "config_alt.json")) check_alternative();
  }

  std::vector<float> all_logits(const LoadedModel& model, Sequence sequence) {
    KvCache cache(model.config().decoder, DType::kF32, sequence.prompt_tokens);
    Scheduler scheduler(cache, sequence.prompt_tokens);
    Runner runner(model, *backend_, cache, {.precision = Precision::kExact});
    Recorder recorder;
    runner.set_tracer(&recorder);
    runner.set_all_logits(true);
    scheduler.add(sequence);
    runner.run(scheduler.next());
    scheduler.remove(sequence);
    return recorder.at("logits");
  }

  /// A second prompt, of text only, that stays below the switch of the rope factors.
  void check_short_prompt(const std::string& prefix, const LoadedModel& model) {
    if (inputs_->find("short_input_ids") == nullptr) return;
    Sequence sequence;
    for (int64_t id : read_ints(*inputs_, "short_input_ids"))
      sequence.tokens.push_back(static_cast<int32_t>(id));
    sequence.prompt_tokens = static_cast<int64_t>(sequence.tokens.size());
    checker_.check_floats(prefix + "short_logits", all_logits(model, std::move(sequence)));
  }

  /// The same weights under another configuration.
  void check_alternative() {
    const auto model = LoadedModel::load_networks(read_hf_config(folder_ / "config_alt.json", {}),
                                                  open_safetensors(folder_ / "model.safetensors"), nullptr);
    const std::vector<float> logits = all_logits(*model, read_sequence());
    const int64_t rows = read_shape(*expected_, "alt/logits")[1];
    checker_.check_floats("alt/logits", last_rows(logits, rows, model->config().decoder.vocab_size));
    check_short_prompt("alt/", *model);
  }

  void check_traces(const Sequence& sequence) {
    const DecoderConfig& decoder = model_->config().decoder;
    if (!sequence.media.empty()) {
      check_split("vision_embeddings", "vision.embeddings", sequence.media[0]->slices);
      check_split("vision_output", "vision.output", sequence.media[0]->slices);
      checker_.check_floats("resampler_output", recorder_.at("resampler"));
    }
    if (checker_.has("audio_embeds")) checker_.check_floats("audio_embeds", recorder_.at("audio.rows"));
    for (const char* name : {"inputs_embeds", "embeds"}) {
      if (checker_.has(name)) checker_.check_floats(name, recorder_.at("inputs_embeds"));
    }
    for (int64_t i = 0; i < decoder.num_layers; ++i) {
      for (const char* part : {"q_norm", "k_norm"}) {
        const std::string name = fmt::format("l{}.{}", i, part);
        if (checker_.has(name)) checker_.check_floats(name, recorder_.at(name));
      }
      const std::string name = fmt::format("hidden.{}", i);
      if (checker_.has(name)) check_last_rows(name, decoder.hidden_size);
    }
    check_last_rows("logits", decoder.vocab_size);
    if (!checker_.has("argmax")) return;
    std::vector<int64_t> best;
    const std::vector<float>& logits = recorder_.at("logits");
    for (auto row = logits.begin(); row != logits.end(); row += decoder.vocab_size) {
      best.push_back(std::max_element(row, row + decoder.vocab_size) - row);
    }
    checker_.check_ints("argmax", best);
  }

  /// The case may hold the last rows only.
  void check_last_rows(const std::string& name, int64_t width) {
    const int64_t rows = read_shape(*expected_, name)[1];
    checker_.check_floats(name, last_rows(recorder_.at(name), rows, width));
  }

  struct Generated {
    std::vector<int64_t> tokens;
    std::vector<float> margins;
  };

  Generated generate(Scheduler& scheduler, Runner& runner, const Sequence& prompt, const SamplingParams& params,
                     std::vector<int32_t> stop_ids) {
    Sequence sequence = prompt;
    sequence.computed = 0;
    sequence.blocks.clear();
    const int64_t vocab = model_->config().decoder.vocab_size;
    Generator generator(scheduler, runner, vocab, stop_ids);
    Generated result;
    scheduler.add(sequence);
    std::span<float> logits = *generator.prefill(sequence);
    if (params.num_beams > 1) {
      scheduler.detach(sequence);
      generator.beam_search(sequence, logits, params, [&](int32_t id) {
        result.tokens.push_back(id);
        return false;
      });
      scheduler.release(sequence);
      return result;
    }
    Sampler sampler(params, stop_ids);
    while (static_cast<int>(result.tokens.size()) < params.max_tokens) {
      std::vector<float> sorted(logits.begin(), logits.end());
      std::ranges::partial_sort(sorted, sorted.begin() + 2, std::greater<>());
      result.margins.push_back(sorted[0] - sorted[1]);
      const auto history = std::span(sequence.tokens).subspan(static_cast<size_t>(sequence.prompt_tokens));
      const int32_t id = sampler.sample(logits, history);
      result.tokens.push_back(id);
      if (std::ranges::find(stop_ids, id) != stop_ids.end()) break;
      sequence.tokens.push_back(id);
      if (static_cast<int>(result.tokens.size()) < params.max_tokens) logits = generator.step().front().logits;
    }
    scheduler.remove(sequence);
    return result;
  }

  void check_generation(Scheduler& scheduler, Runner& runner, Sequence& prompt) {
    scheduler.release(prompt);
    constexpr int32_t kStopId = 511;  // of the cases with penalty and beams
    SamplingParams greedy;
    greedy.do_sample = false;
    if (checker_.has("greedy_tokens")) {
      greedy.max_tokens = static_cast<int>(read_shape(*expected_, "greedy_tokens")[0]);
      const Generated result = generate(scheduler, runner, prompt, greedy, {});
      checker_.check_ints("greedy_tokens", result.tokens);
      checker_.check_floats("greedy_margin", result.margins, kMarginLimit);
    }
    if (checker_.has("greedy_penalty_tokens")) {
      SamplingParams params = greedy;
      params.repetition_penalty = 1.05f;
      check_generated("greedy_penalty_tokens", generate(scheduler, runner, prompt, params, {kStopId}), kStopId);
    }
    if (checker_.has("beam3_tokens")) {
      SamplingParams params = greedy;
      params.repetition_penalty = 1.2f;
      params.num_beams = 3;
      check_generated("beam3_tokens", generate(scheduler, runner, prompt, params, {kStopId}), kStopId);
    }
  }

  /// The reference lists a stop id that ended the text; beam search here does not.
  void check_generated(const std::string& name, Generated result, int32_t stop_id) {
    const std::vector<int64_t> expected = read_ints(*expected_, name);
    if (expected.size() == result.tokens.size() + 1 && expected.back() == stop_id) result.tokens.push_back(stop_id);
    checker_.check_ints(name, result.tokens);
  }

  /// Differences of logits lose digits that the logits themselves keep.
  static constexpr double kMarginLimit = 1e-3;

  std::filesystem::path folder_;
  Json json_;
  std::unique_ptr<WeightSource> expected_;
  std::unique_ptr<WeightSource> inputs_;
  CaseChecker checker_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LoadedModel> model_;
  Recorder recorder_;
};

}  // namespace

void verify_model(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report) {
  ModelCase(folder, options, report).run();
}

}  // namespace minicpm
