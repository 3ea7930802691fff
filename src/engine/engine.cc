#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>

#include "engine/answer.h"
#include "engine/chat.h"
#include "engine/default_sampling.h"
#include "engine/drafter.h"
#include "engine/generator.h"
#include "engine/processor.h"
#include "engine/runner.h"
#include "engine/sessions.h"
#include "engine/step_loop.h"
#include "engine/token_constraint.h"
#include "engine/token_stream.h"
#include "models/loaded_model.h"
#include "text/json_schema.h"
#include "text/tool_calls.h"

namespace minicpm {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Tells pictures and sounds apart by all that the networks see of them.
Digest128 digest_of(const MediaItem& media, const SipKey& key) {
  SipHash hash(key);
  for (const Patches& slice : media.slices) {
    hash.add_list(std::span<const int>({slice.h, slice.w}));
    hash.add_list(std::span<const float>(slice.values));
  }
  for (const ResamplerGroup& group : media.groups) {
    hash.add_list(std::span<const PatchGrid>(group.slices));
    hash.add_list(std::span<const int32_t>(group.frame_ids));
  }
  for (const MelFrames& sound : media.sounds) {
    hash.add_list(std::span<const int64_t>({sound.frames, sound.bins}));
    hash.add_list(std::span<const float>(sound.values));
  }
  hash.add_list(std::span<const int64_t>(media.span_rows));
  return hash.finish();
}

constexpr int64_t kMostDrafts = 64;

/// The position from which on keys are rotated with other factors.
int64_t rotation_border(const DecoderConfig& config) {
  return config.rope_long_factors.empty() ? std::numeric_limits<int64_t>::max() : config.rope_switch_length;
}

class EngineImpl : public Engine {
 public:
  EngineImpl(std::unique_ptr<LoadedModel> model, std::unique_ptr<Backend> backend, const EngineOptions& options,
             int64_t context, double load_ms)
      : model_(std::move(model)),
        backend_(std::move(backend)),
        context_(context),
        cache_(model_->config().decoder, options.kv_type, std::max(context, options.cache_tokens)),
        scheduler_(cache_, options.prefill_chunk),
        runner_(*model_, *backend_, cache_, {options.precision, options.media_precision, options.media_cache_bytes}),
        generator_(scheduler_, runner_, model_->config().decoder.vocab_size, model_->stop_ids()),
        drafter_(make_drafter(options, context)),
        loop_(scheduler_, runner_, model_->stop_ids(),
              {drafter_.get(), options.drafts.tokens, rotation_border(model_->config().decoder)}),
        load_ms_(load_ms),
        precision_(options.precision),
        media_key_(options.media_key.value_or(SipKey::random())) {
    if (model_->tokenizer() != nullptr) processor_.emplace(model_->config(), *model_->tokenizer());
  }

  ChatResult chat(const ChatRequest& request, const OnDelta& on_delta, const std::atomic<bool>* cancel) override;
  std::vector<float> speaker_state(const ChatRequest& request) override;
  std::vector<float> hidden_state(const std::vector<int32_t>& tokens, const std::string& cache_scope, Priority priority,
                                  const std::atomic<bool>* cancel) override;
  int64_t context_tokens() const override { return context_; }
  std::unique_ptr<TokenStream> open_stream() override;
  SessionInfo save_session(const std::filesystem::path& file, const std::string& cache_scope, const ChatRequest* prompt,
                           const std::atomic<bool>* cancel) override;
  SessionInfo restore_session(const std::filesystem::path& file, const std::string& cache_scope) override;
  EngineStats stats() const override;
  SamplingParams default_sampling(bool thinking, bool sample) const override {
    return minicpm::default_sampling(model_->version(), thinking, sample);
  }
  const LoadedModel& model() const override { return *model_; }
  std::string backend_description() const override { return backend_->description(); }
  double load_ms() const override { return load_ms_; }
  size_t peak_activation_bytes() const override { return runner_.peak_bytes(); }

  double bench_prefill_ms(int64_t tokens, int64_t depth) override;
  double bench_decode_ms(int64_t tokens, int64_t depth, int64_t sequences) override;
  double bench_vision_ms(int width, int height) override;

 private:
  std::unique_ptr<Drafter> make_drafter(const EngineOptions& options, int64_t context) const;
  Sequence begin_sequence(ModelInput input, const std::string& scope) const;
  FinishReason search_beams(Sequence& sequence, const SamplingParams& params, const StepLoop::Callbacks& callbacks,
                            const std::atomic<bool>* cancel);
  std::shared_ptr<TokenConstraint> constraint_of(const ChatRequest& request);
  SamplingParams fitted(SamplingParams params, int64_t prompt_tokens);
  Sequence random_sequence(int64_t tokens);
  SessionParts session_parts();

  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<Backend> backend_;
  int64_t context_;
  KvCache cache_;
  Scheduler scheduler_;
  Runner runner_;
  Generator generator_;               // used when the loop stands still
  std::unique_ptr<Drafter> drafter_;  // null: none
  StepLoop loop_;
  double load_ms_;
  std::optional<Processor> processor_;
  std::once_flag vocabulary_once_;
  std::shared_ptr<const VocabularyTree> vocabulary_;  // made when first asked for JSON
  Precision precision_;
  const SipKey media_key_;  // so that nobody can prepare two pictures with one digest
};

std::unique_ptr<Drafter> EngineImpl::make_drafter(const EngineOptions& options, int64_t context) const {
  const DraftOptions& drafts = options.drafts;
  if (drafts.any() && (drafts.tokens < 1 || drafts.tokens > kMostDrafts)) {
    fail(ErrorCode::kInvalidRequest, "the guesses of a step must be 1 to {}, but are {}", kMostDrafts, drafts.tokens);
  }
  std::vector<std::unique_ptr<Drafter>> drafters;
  if (drafts.lookup) drafters.push_back(std::make_unique<LookupDrafter>());
  if (!drafts.model.empty()) {
    auto draft = LoadedModel::load(find_model_files(drafts.model, ""));
    check_same_vocabulary(*model_, *draft, drafts.model);
    drafters.push_back(std::make_unique<ModelDrafter>(std::move(draft), *backend_,
                                                      ModelDrafter::Settings{.precision = options.precision,
                                                                             .kv_type = options.kv_type,
                                                                             .context = context,
                                                                             .prefill_chunk = options.prefill_chunk}));
  }
  if (drafters.empty()) return nullptr;
  return std::make_unique<DrafterList>(std::move(drafters));
}

Sequence EngineImpl::begin_sequence(ModelInput input, const std::string& scope) const {
  Sequence sequence;
  sequence.tokens = std::move(input.tokens);
  sequence.prompt_tokens = static_cast<int64_t>(sequence.tokens.size());
  sequence.media = std::move(input.media);
  sequence.media_rows.resize(sequence.media.size());
  for (const auto& media : sequence.media)
    sequence.media_digests.push_back(digest_of(*media, media_key_));
  sequence.scope = scope;
  return sequence;
}

std::vector<float> EngineImpl::speaker_state(const ChatRequest& request) {
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
  Sequence sequence = begin_sequence(std::move(prompt.input), request.cache_scope);
  sequence.priority = static_cast<int>(request.priority);
  // Kept, so that an answer to the same request need not compute its prompt again.
  return loop_.prefill(sequence, nullptr, StepLoop::After::kKeep)->hidden;
}

std::vector<float> EngineImpl::hidden_state(const std::vector<int32_t>& tokens, const std::string& cache_scope,
                                            Priority priority, const std::atomic<bool>* cancel) {
  if (tokens.empty()) fail(ErrorCode::kInvalidRequest, "there are no tokens");
  if (static_cast<int64_t>(tokens.size()) > context_) {
    fail(ErrorCode::kInvalidRequest, "the text has {} tokens, which does not fit the context of {}", tokens.size(),
         context_);
  }
  Sequence sequence = begin_sequence({tokens, {}}, cache_scope);
  sequence.priority = static_cast<int>(priority);
  std::optional<PromptState> state = loop_.prefill(sequence, cancel, StepLoop::After::kKeep);
  if (!state) fail(ErrorCode::kCancelled, "cancelled");
  return std::move(state->hidden);
}

// What keeps the answer JSON, or its calls in their form, or nothing.
std::shared_ptr<TokenConstraint> EngineImpl::constraint_of(const ChatRequest& request) {
  if (!request.json_schema && !request.tools) return nullptr;
  if (request.json_schema && request.tools) {
    fail(ErrorCode::kInvalidRequest, "a JSON schema for the answer and tools do not go together");
  }
  if (!request.sampling.do_sample && request.sampling.num_beams > 1) {
    fail(ErrorCode::kInvalidRequest, "{} and beam search do not go together; use greedy decoding or sampling",
         request.tools ? "tools" : "a JSON schema");
  }
  const Tokenizer& tokenizer = *model_->tokenizer();
  ConstrainedPart part{.stop_ids = model_->stop_ids()};
  if (request.thinking) part.reasoning_end = tokenizer.token_id("</think>");
  if (request.tools) {
    const auto begin = tokenizer.token_id(kToolCallBegin), end = tokenizer.token_id(kToolCallEnd);
    if (!begin || !end) fail(ErrorCode::kUnsupported, "{}: its vocabulary has no tool calls", model_->version().title);
    part.calls = {*begin, *end, request.tools->must, !request.tools->several};
  }
  auto grammar =
      std::make_shared<const Grammar>(request.tools ? tool_call_grammar(request.tools->tools, request.tools->only)
                                                    : json_schema_grammar(*request.json_schema));
  std::call_once(vocabulary_once_, [&] { vocabulary_ = std::make_shared<const VocabularyTree>(tokenizer); });
  return std::make_shared<TokenConstraint>(std::move(grammar), vocabulary_, std::move(part));
}

FinishReason EngineImpl::search_beams(Sequence& sequence, const SamplingParams& params,
                                      const StepLoop::Callbacks& callbacks, const std::atomic<bool>* cancel) {
  struct GiveBack {
    StepLoop& loop;
    Sequence& sequence;
    ~GiveBack() { loop.give_back(std::move(sequence), StepLoop::After::kKeep); }  // its numbers stay behind
  } guard{loop_, sequence};
  std::optional<PromptState> state = loop_.prefill(sequence, cancel);
  if (!state) return FinishReason::kCancelled;
  callbacks.on_begin();
  FinishReason reason = FinishReason::kStop;
  loop_.exclusively([&] {
    const int64_t per_beam = (sequence.prompt_tokens + params.max_tokens) / kBlockTokens + 1;
    scheduler_.make_room((params.num_beams + 1) * per_beam);
    Scheduler alone(cache_, 1);  // so that the others' sequences do not move
    Generator generator(alone, runner_, model_->config().decoder.vocab_size, model_->stop_ids());
    const OnToken on_token = [&](int32_t id) { return callbacks.on_token({id, std::nullopt}); };
    reason = generator.beam_search(sequence, state->logits, params, on_token, cancel);
  });
  return reason;
}

// The settings with as many tokens as fit behind the prompt.
SamplingParams EngineImpl::fitted(SamplingParams params, int64_t prompt_tokens) {
  const bool beams = !params.do_sample && params.num_beams > 1;
  const int64_t room = beams ? beam_room(cache_.pool(), prompt_tokens, params.num_beams) : context_ - prompt_tokens;
  params.max_tokens = static_cast<int>(std::min<int64_t>(params.max_tokens, room));
  if (params.max_tokens < 1) {
    fail(ErrorCode::kInvalidRequest, "the prompt of {} tokens leaves no room for an answer in the context of {}",
         prompt_tokens, context_);
  }
  return params;
}

/// Adds to each piece what was generated since the one before. Both must outlive what is returned.
OnDelta with_logprobs(const OnDelta& next, const ChatResult& so_far) {
  return [&next, &so_far, given = std::ptrdiff_t{0}](TextDelta delta) mutable {
    delta.tokens.assign(so_far.tokens.begin() + given, so_far.tokens.end());
    delta.logprobs.assign(so_far.logprobs.begin() + given, so_far.logprobs.end());
    given = static_cast<std::ptrdiff_t>(so_far.logprobs.size());
    next(delta);
  };
}

void add_speeds(ChatResult& result) {
  const auto per_second = [](int64_t tokens, double ms) {
    return ms > 0 ? 1000.0 * static_cast<double>(tokens) / ms : 0.0;
  };
  result.timings.prefill_tokens_per_second =
      per_second(result.usage.prompt_tokens - result.usage.cached_tokens, result.timings.prefill_ms);
  result.timings.decode_tokens_per_second = per_second(result.usage.completion_tokens, result.timings.decode_ms);
}

ChatResult EngineImpl::chat(const ChatRequest& request, const OnDelta& on_delta, const std::atomic<bool>* cancel) {
  validate(request.sampling);
  std::shared_ptr<TokenConstraint> constraint = constraint_of(request);
  ChatResult result;
  const auto start = Clock::now();
  PreparedPrompt prompt = processor_->prepare(request);
  result.usage = prompt.usage;
  result.timings.load_ms = load_ms_;
  Sequence sequence = begin_sequence(std::move(prompt.input), request.cache_scope);
  sequence.priority = static_cast<int>(request.priority);
  result.timings.preprocess_ms = ms_since(start);
  if (sequence.prompt_tokens >= context_) {
    fail(ErrorCode::kInvalidRequest,
         "the prompt has {} tokens, which does not fit the context of {}; start with a larger one (-c)",
         sequence.prompt_tokens, context_);
  }
  const bool beams = !request.sampling.do_sample && request.sampling.num_beams > 1;
  SamplingParams params = fitted(request.sampling, sequence.prompt_tokens);
  // Without a text that would be complete there, an answer cannot be made to go on.
  if (constraint != nullptr) params.min_new_tokens = 0;
  AnswerBuilder answer(*model_->tokenizer(),
                       {.stop = request.stop,
                        .thinking = request.thinking && !request.prompt_tokens,
                        .calls = request.tools.has_value(),
                        .keep_blanks = request.prompt_tokens.has_value()},
                       on_delta && params.top_logprobs && !beams ? with_logprobs(on_delta, result) : on_delta);
  const auto prefill_start = Clock::now();
  Clock::time_point decode_start = prefill_start;
  const StepLoop::Callbacks callbacks = {.on_token =
                                             [&](const SampledToken& token) {
                                               result.tokens.push_back(token.id);
                                               if (token.logprobs) result.logprobs.push_back(*token.logprobs);
                                               return answer.push(token.id);
                                             },
                                         .on_begin =
                                             [&] {
                                               decode_start = Clock::now();
                                               result.timings.ttft_ms = ms_since(start);
                                             }};
  const int64_t prompt_tokens = sequence.prompt_tokens;
  result.finish_reason =
      beams ? search_beams(sequence, params, callbacks, cancel)
            : loop_.generate(sequence, params, callbacks, cancel, std::move(constraint), StepLoop::After::kKeep);
  result.usage.cached_tokens = std::min(sequence.reused, prompt_tokens);
  result.timings.vision_ms = sequence.media_ms;
  result.timings.drafted = sequence.drafted;
  result.timings.accepted = sequence.accepted;
  answer.finish();
  result.timings.prefill_ms =
      std::chrono::duration<double, std::milli>(decode_start - prefill_start).count() - result.timings.vision_ms;
  result.timings.decode_ms = ms_since(decode_start);
  result.text = answer.text();
  result.reasoning = answer.reasoning();
  result.tool_calls = answer.calls();
  result.usage.completion_tokens = static_cast<int64_t>(result.tokens.size());
  add_speeds(result);
  return result;
}

SessionParts EngineImpl::session_parts() {
  // Tells engines apart that compute different keys and values for the same prompt.
  const Digest128 weights = model_->fingerprint();
  const int64_t settings[] = {static_cast<int64_t>(cache_.layers().front().dtype), static_cast<int64_t>(precision_),
                              static_cast<int64_t>(runner_.media_precision()), kBlockTokens};
  SipHash hash({0x73657373696f6e20, 0x6f66206d6f64656c});
  hash.add_list(std::span<const uint64_t>(weights));
  hash.add_list(std::span<const int64_t>(settings));
  return {loop_, scheduler_, cache_, hash.finish(), media_key_, model_->config().decoder.vocab_size};
}

SessionInfo EngineImpl::save_session(const std::filesystem::path& file, const std::string& cache_scope,
                                     const ChatRequest* prompt, const std::atomic<bool>* cancel) {
  if (prompt == nullptr) return minicpm::save_session(session_parts(), file, cache_scope, nullptr);
  PreparedPrompt prepared = processor_->prepare(*prompt);
  if (static_cast<int64_t>(prepared.input.tokens.size()) > context_) {
    fail(ErrorCode::kInvalidRequest, "the prompt has {} tokens, which does not fit the context of {}",
         prepared.input.tokens.size(), context_);
  }
  Sequence sequence = begin_sequence(std::move(prepared.input), cache_scope);
  sequence.priority = static_cast<int>(prompt->priority);
  const Sequence wanted = sequence;
  if (!loop_.prefill(sequence, cancel, StepLoop::After::kKeep)) fail(ErrorCode::kCancelled, "cancelled");
  return minicpm::save_session(session_parts(), file, cache_scope, &wanted);
}

SessionInfo EngineImpl::restore_session(const std::filesystem::path& file, const std::string& cache_scope) {
  return minicpm::restore_session(session_parts(), file, cache_scope);
}

EngineStats EngineImpl::stats() const {
  return loop_.stats();
}

std::unique_ptr<TokenStream> EngineImpl::open_stream() {
  return make_token_stream(loop_, scheduler_, context_);
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
  scheduler_.forget();
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
  scheduler_.forget();
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
  Context ctx{*backend_, arena, runner_.media_precision(), nullptr};
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
  auto lora = spec.lora.empty() ? nullptr : Lora::open(spec.lora, spec.lora_scale, FileAccess::kRead);
  auto model = LoadedModel::load(files, std::move(lora), options.weight_access);
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
