#include "cli/request.h"

#include <random>

#include "base/error.h"

namespace minicpm::cli {
namespace {

void override_params(const Options& options, SamplingParams& params) {
  if (options.max_tokens) params.max_tokens = static_cast<int>(*options.max_tokens);
  if (options.min_tokens) params.min_new_tokens = static_cast<int>(*options.min_tokens);
  if (options.temperature) params.temperature = static_cast<float>(*options.temperature);
  if (options.top_k) params.top_k = static_cast<int>(*options.top_k);
  if (options.top_p) params.top_p = static_cast<float>(*options.top_p);
  if (options.min_p) params.min_p = static_cast<float>(*options.min_p);
  if (options.repeat_penalty) params.repetition_penalty = static_cast<float>(*options.repeat_penalty);
}

}  // namespace

ModelSpec model_spec(const Options& options) {
  if (options.lora_scale && options.lora.empty()) {
    fail(ErrorCode::kInvalidRequest, "--lora-scale needs an adapter (--lora)");
  }
  return {options.model, options.mmproj, options.lora, static_cast<float>(options.lora_scale.value_or(1.0))};
}

EngineOptions engine_options(const Options& options) {
  EngineOptions engine;
  engine.backend = {.num_threads = static_cast<int>(options.threads.value_or(0)),
                    .isa = options.isa,
                    .deterministic = options.deterministic};
  engine.context_tokens = options.context.value_or(0);
  if (options.kv_type == "f32") engine.kv_type = DType::kF32;
  if (options.kv_type == "bf16") engine.kv_type = DType::kBF16;
  if (options.kv_type == "q8_0") engine.kv_type = DType::kQ8_0;
  if (options.exact && options.half) fail(ErrorCode::kInvalidRequest, "--exact and --half contradict each other");
  engine.drafts.lookup = options.lookup;
  engine.drafts.model = options.draft;
  if (options.draft_tokens && !engine.drafts.any()) {
    fail(ErrorCode::kInvalidRequest, "--draft-tokens needs --lookup or --draft");
  }
  engine.drafts.tokens = options.draft_tokens.value_or(engine.drafts.tokens);
  if (options.mmap == "on") engine.weight_access = FileAccess::kMap;
  if (options.mmap == "off") engine.weight_access = FileAccess::kRead;
  if (options.exact) engine.precision = Precision::kExact;
  if (options.half) engine.precision = Precision::kHalf;
  if (options.media_type == "int8") engine.media_precision = Precision::kInt8;
  if (options.media_type == "f32") engine.media_precision = Precision::kExact;
  return engine;
}

SamplingParams sampling_params(const Options& options, const Engine& engine, bool thinking, uint64_t seed) {
  const bool beams = options.beams.value_or(1) > 1;
  SamplingParams params = engine.default_sampling(thinking, !beams);
  if (beams) params.num_beams = static_cast<int>(*options.beams);
  if (options.greedy) params.do_sample = false;
  params.seed = seed;
  override_params(options, params);
  return params;
}

void check_sampling(const Options& options) {
  if (options.greedy && options.beams.value_or(1) > 1) {
    fail(ErrorCode::kInvalidRequest, "--greedy and --beams exclude each other");
  }
  SamplingParams params;
  override_params(options, params);
  validate(params);
  if (params.min_new_tokens > params.max_tokens && options.max_tokens) {
    fail(ErrorCode::kInvalidRequest, "--min-tokens {} is more than --max-tokens {}", params.min_new_tokens,
         params.max_tokens);
  }
}

uint64_t choose_seed(const Options& options) {
  if (options.seed) return static_cast<uint64_t>(*options.seed);
  std::random_device device;
  return device();  // 32 bits, so that it is easily written down
}

}  // namespace minicpm::cli
