#include <algorithm>
#include <chrono>
#include <mutex>

#include "engine/answer.h"
#include "engine/chat.h"
#include "engine/generator.h"
#include "engine/processor.h"
#include "engine/runner.h"
#include "models/loaded_model.h"

namespace minicpm {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

bool same_media(const MediaItem& a, const MediaItem& b) {
  if (a.spans != b.spans || a.slices.size() != b.slices.size() || a.groups.size() != b.groups.size()) return false;
  for (size_t i = 0; i < a.groups.size(); ++i) {
    if (a.groups[i].frame_ids != b.groups[i].frame_ids) return false;
  }
  const auto same_sound = [](const MelFrames& x, const MelFrames& y) { return x.values == y.values; };
  if (!std::ranges::equal(a.sounds, b.sounds, same_sound) || a.span_rows != b.span_rows) return false;
  // Compared by content, not by a hash, so that two pictures are never taken for each other.
  return std::ranges::equal(a.slices, b.slices, [](const Patches& x, const Patches& y) {
    return x.h == y.h && x.w == y.w && x.values == y.values;
  });
}

class EngineImpl : public Engine {
 public:
  EngineImpl(std::unique_ptr<LoadedModel> model, std::unique_ptr<Backend> backend, const EngineOptions& options,
             int64_t context, double load_ms)
      : model_(std::move(model)),
        backend_(std::move(backend)),
        context_(context),
        cache_(model_->config().decoder, options.kv_type, context),
        scheduler_(cache_, options.prefill_chunk),
        runner_(*model_, *backend_, cache_, options.precision),
        generator_(scheduler_, runner_, model_->config().decoder.vocab_size, model_->stop_ids()),
        load_ms_(load_ms) {
    if (model_->tokenizer() != nullptr) processor_.emplace(model_->config(), *model_->tokenizer());
  }

  ~EngineImpl() override { scheduler_.release(last_); }

  ChatResult chat(const ChatRequest& request, const OnDelta& on_delta, const std::atomic<bool>* cancel) override;
  SamplingParams default_sampling(bool thinking, bool sample) const override;
  const LoadedModel& model() const override { return *model_; }
  std::string backend_description() const override { return backend_->description(); }
  double load_ms() const override { return load_ms_; }
  size_t peak_activation_bytes() const override { return runner_.peak_bytes(); }

  double bench_prefill_ms(int64_t tokens, int64_t depth) override;
  double bench_decode_ms(int64_t tokens, int64_t depth, int64_t sequences) override;
  std::vector<float> speaker_state(const ChatRequest& request) override;
  double bench_vision_ms(int width, int height) override;

 private:
  void reuse_last(Sequence& sequence);
  Sequence random_sequence(int64_t tokens);

  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<Backend> backend_;
  int64_t context_;
  KvCache cache_;
  Scheduler scheduler_;
  Runner runner_;
  Generator generator_;
  double load_ms_;
  std::optional<Processor> processor_;
  std::mutex mutex_;  // one answer at a time
  Sequence last_;     // the previous conversation, kept so that its common beginning need not be computed again
};

std::vector<float> EngineImpl::speaker_state(const ChatRequest& request) {
  const std::scoped_lock lock(mutex_);
  ChatRequest spoken = request;
  spoken.speech = true;
  PreparedPrompt prompt = processor_->prepare(spoken);
  const auto mark = model_->tokenizer()->token_id("<|spk|>");
  auto& tokens = prompt.input.tokens;
  const auto last = mark ? std::find(tokens.rbegin(), tokens.rend(), *mark) : tokens.rend();
  if (last == tokens.rend()) {
    fail(ErrorCode::kInvalidRequest, "{}: its tokenizer has no <|spk|>", model_->version().title);
  }
  tokens.erase(last.base(), tokens.end());  // the speaker token is the last one now
  if (static_cast<int64_t>(tokens.size()) > context_) {
    fail(ErrorCode::kInvalidRequest, "the prompt has {} tokens, which does not fit the context of {}", tokens.size(),
         context_);
  }
  Sequence sequence;
  sequence.tokens = std::move(tokens);
  sequence.prompt_tokens = static_cast<int64_t>(sequence.tokens.size());
  sequence.media = std::move(prompt.input.media);
  sequence.media_rows.resize(sequence.media.size());
  reuse_last(sequence);
  scheduler_.add(sequence);
  // Kept like a conversation, so that an answer to the same request need not compute its prompt again.
  struct Leave {
    EngineImpl& engine;
    Sequence& sequence;
    ~Leave() {
      engine.runner_.set_keep_hidden(false);
      engine.scheduler_.detach(sequence);
      engine.last_ = std::move(sequence);
    }
  } leave{*this, sequence};
  runner_.set_keep_hidden(true);
  generator_.prefill(sequence);
  const auto state = runner_.last_hidden();
  return {state.begin(), state.end()};
}

SamplingParams EngineImpl::default_sampling(bool thinking, bool sample) const {
  const VersionRow& version = model_->version();
  const SamplingDefaults& defaults = thinking ? version.thinking_sampling : version.sampling;
  SamplingParams params;
  params.max_tokens = version.max_new_tokens;
  params.do_sample = sample;
  if (sample) {
    params.temperature = defaults.temperature;
    params.top_k = defaults.top_k;
    params.top_p = defaults.top_p;
    params.repetition_penalty = defaults.repetition_penalty;
  } else {
    params.num_beams = 3;
    params.repetition_penalty = version.beam_repetition_penalty;
  }
  return params;
}

// Keeps what the new prompt shares with the previous conversation: the same tokens and the same pictures.
void EngineImpl::reuse_last(Sequence& sequence) {
  int64_t common = 0;
  const int64_t limit = std::min({last_.computed, static_cast<int64_t>(last_.tokens.size()),
                                  static_cast<int64_t>(sequence.tokens.size()) - 1});  // one row must give logits
  while (common < limit && last_.tokens[common] == sequence.tokens[common])
    ++common;
  const size_t shared_media = std::min(last_.media.size(), sequence.media.size());
  for (size_t m = 0; m < sequence.media.size(); ++m) {
    if (sequence.media[m]->spans.front() >= common) break;
    if (m < shared_media && same_media(*last_.media[m], *sequence.media[m])) {
      sequence.media_rows[m] = last_.media_rows[m];
      continue;
    }
    common = std::min(common, sequence.media[m]->spans.front());
    break;
  }
  scheduler_.truncate(last_, common);
  sequence.blocks = std::move(last_.blocks);
  sequence.computed = common;
  last_ = Sequence{};
}

ChatResult EngineImpl::chat(const ChatRequest& request, const OnDelta& on_delta, const std::atomic<bool>* cancel) {
  const std::scoped_lock lock(mutex_);
  validate(request.sampling);
  ChatResult result;
  const auto start = Clock::now();
  PreparedPrompt prompt = processor_->prepare(request);
  result.usage = prompt.usage;
  result.timings.load_ms = load_ms_;
  result.timings.preprocess_ms = ms_since(start);

  Sequence sequence;
  sequence.tokens = std::move(prompt.input.tokens);
  sequence.prompt_tokens = static_cast<int64_t>(sequence.tokens.size());
  sequence.media = std::move(prompt.input.media);
  sequence.media_rows.resize(sequence.media.size());
  if (sequence.prompt_tokens >= context_) {
    fail(ErrorCode::kInvalidRequest,
         "the prompt has {} tokens, which does not fit the context of {}; start with a larger one (-c)",
         sequence.prompt_tokens, context_);
  }
  SamplingParams params = request.sampling;
  const bool beams = !params.do_sample && params.num_beams > 1;
  const int64_t room =
      beams ? beam_room(cache_.pool(), sequence.prompt_tokens, params.num_beams) : context_ - sequence.prompt_tokens;
  params.max_tokens = static_cast<int>(std::min<int64_t>(params.max_tokens, room));
  if (params.max_tokens < 1) {
    fail(ErrorCode::kInvalidRequest, "the prompt of {} tokens leaves no room for an answer in the context of {}",
         sequence.prompt_tokens, context_);
  }

  reuse_last(sequence);
  const int64_t prefilled = sequence.prompt_tokens - sequence.computed;
  const double vision_before = runner_.vision_ms();
  const auto prefill_start = Clock::now();
  scheduler_.add(sequence);
  // Whatever happens below, the sequence leaves the scheduler with its blocks accounted for.
  struct Leave {
    EngineImpl& engine;
    Sequence& sequence;
    ~Leave() {
      engine.scheduler_.detach(sequence);
      engine.last_ = std::move(sequence);
    }
  } leave{*this, sequence};
  AnswerBuilder answer(*model_->tokenizer(), request.stop, request.thinking, on_delta);
  const auto logits = generator_.prefill(sequence, cancel);
  result.timings.vision_ms = runner_.vision_ms() - vision_before;
  result.timings.prefill_ms = ms_since(prefill_start) - result.timings.vision_ms;
  result.timings.ttft_ms = ms_since(start);
  result.finish_reason = FinishReason::kCancelled;

  if (logits) {
    const auto decode_start = Clock::now();
    const OnToken on_token = [&](int32_t id) {
      result.tokens.push_back(id);
      return answer.push(id);
    };
    if (beams) {
      scheduler_.detach(sequence);
      result.finish_reason = generator_.beam_search(sequence, *logits, params, on_token, cancel);
    } else {
      result.finish_reason = generator_.sample(sequence, *logits, params, on_token, cancel);
    }
    answer.finish();
    result.timings.decode_ms = ms_since(decode_start);
  }
  result.text = answer.text();
  result.reasoning = answer.reasoning();
  result.usage.completion_tokens = static_cast<int64_t>(result.tokens.size());
  const auto per_second = [](int64_t tokens, double ms) {
    return ms > 0 ? 1000.0 * static_cast<double>(tokens) / ms : 0.0;
  };
  result.timings.prefill_tokens_per_second = per_second(prefilled, result.timings.prefill_ms);
  result.timings.decode_tokens_per_second = per_second(result.usage.completion_tokens, result.timings.decode_ms);
  return result;
}

// ---- benchmarks ----------------------------------------------------------------------------------------------------

Sequence EngineImpl::random_sequence(int64_t tokens) {
  if (tokens >= context_) {
    fail(ErrorCode::kInvalidRequest, "{} tokens do not fit the context of {}; start with a larger one (-c)", tokens,
         context_);
  }
  Sequence sequence;
  uint64_t state = 1;  // a fixed linear congruential sequence: speed does not depend on the ids
  for (int64_t i = 0; i < tokens; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    sequence.tokens.push_back(static_cast<int32_t>((state >> 33) % model_->config().decoder.vocab_size));
  }
  sequence.prompt_tokens = tokens;
  return sequence;
}

double EngineImpl::bench_prefill_ms(int64_t tokens, int64_t depth) {
  const std::scoped_lock lock(mutex_);
  scheduler_.release(last_);
  last_ = Sequence{};
  Sequence sequence = random_sequence(depth + tokens);
  const std::vector<int32_t> all = sequence.tokens;
  scheduler_.add(sequence);
  if (depth > 0) {
    sequence.tokens.resize(depth);
    generator_.prefill(sequence);
    sequence.tokens = all;
  }
  const auto start = Clock::now();
  generator_.prefill(sequence);
  const double ms = ms_since(start);
  scheduler_.remove(sequence);
  return ms;
}

double EngineImpl::bench_decode_ms(int64_t tokens, int64_t depth, int64_t sequences) {
  const std::scoped_lock lock(mutex_);
  scheduler_.release(last_);
  last_ = Sequence{};
  std::vector<Sequence> all(std::max<int64_t>(1, sequences));
  for (Sequence& sequence : all) {
    sequence = random_sequence(std::max<int64_t>(1, depth));
    scheduler_.add(sequence);
    generator_.prefill(sequence);
    scheduler_.detach(sequence);
  }
  for (Sequence& sequence : all)
    scheduler_.add(sequence);
  const auto start = Clock::now();
  for (int64_t i = 0; i < tokens; ++i) {
    for (Sequence& sequence : all)
      sequence.tokens.push_back(static_cast<int32_t>(i % 100));
    generator_.step();
  }
  const double ms = ms_since(start);
  for (Sequence& sequence : all)
    scheduler_.remove(sequence);
  return ms;
}

double EngineImpl::bench_vision_ms(int width, int height) {
  const std::scoped_lock lock(mutex_);
  if (!model_->has_vision()) fail(ErrorCode::kInvalidRequest, "this model has no vision tower");
  const SliceConfig& config = model_->config().slices;
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  for (size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  std::vector<Patches> patches;
  std::vector<ResamplerGroup> groups;
  for (const Image& slice : slice_image(image, config)) {
    patches.push_back(make_patches(slice, config));
    groups.push_back({{{patches.back().h, patches.back().w}}, {}});
  }
  std::vector<const Patches*> views;
  for (const Patches& slice : patches)
    views.push_back(&slice);
  Arena arena;
  Context ctx{*backend_, arena, media_precision(Precision::kFast), nullptr};
  const auto start = Clock::now();
  model_->encode(ctx, views, groups);
  return ms_since(start);
}

int64_t choose_context(const DecoderConfig& config, const EngineOptions& options) {
  if (options.context_tokens < 0) fail(ErrorCode::kInvalidRequest, "the context must be positive");
  if (options.context_tokens > config.max_positions) {
    fail(ErrorCode::kInvalidRequest, "a context of {} tokens is more than the {} this model was made for",
         options.context_tokens, config.max_positions);
  }
  if (options.context_tokens > 0) return options.context_tokens;
  return std::min(options.default_context, config.max_positions);
}

}  // namespace

std::unique_ptr<Engine> Engine::load(const ModelSpec& spec, const EngineOptions& options) {
  const auto start = Clock::now();
  auto backend = make_cpu_backend(options.backend);
  const ModelFiles files = find_model_files(spec.model, spec.mmproj);
  auto lora = spec.lora.empty() ? nullptr : Lora::open(spec.lora, spec.lora_scale);
  auto model = LoadedModel::load(files, std::move(lora));
  const int64_t context = choose_context(model->config().decoder, options);
  return std::make_unique<EngineImpl>(std::move(model), std::move(backend), options, context, ms_since(start));
}

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "stop";
}

ContentPart ContentPart::from_text(std::string text) {
  ContentPart part;
  part.text = std::move(text);
  return part;
}

ContentPart ContentPart::from_image(std::shared_ptr<const Image> image) {
  ContentPart part;
  part.kind = Kind::kImage;
  part.images.push_back(std::move(image));
  return part;
}

ContentPart ContentPart::from_sound(std::vector<float> samples) {
  ContentPart part;
  part.kind = Kind::kSound;
  part.sound = std::make_shared<const std::vector<float>>(std::move(samples));
  return part;
}

}  // namespace minicpm
