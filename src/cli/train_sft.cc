#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "train/trainer.h"

namespace minicpm::cli {
namespace {

constexpr double kAdapterRate = 1e-4;

template <typename To, typename From>
void take(To& to, const std::optional<From>& from) {
  if (from) to = static_cast<To>(*from);
}
void take(std::string& to, const std::string& from) {
  if (!from.empty()) to = from;
}
void take(bool& to, const std::string& on_off) {
  if (!on_off.empty()) to = on_off == "on";
}

void take_adapter(TrainConfig& config, const Options& options) {
  if (!options.adapter && !config.lora) {
    if (options.lora_rank || options.lora_alpha || options.lora_dropout || options.lora_targets ||
        !options.lora_save.empty()) {
      fail(ErrorCode::kInvalidRequest, "the --lora options need --adapter");
    }
    return;
  }
  if (!config.lora) {
    config.lora.emplace();
    config.lora->modules_to_save = {"embed_tokens"};
    if (config.tune_resampler) config.lora->modules_to_save.push_back("resampler");
    if (options.tune_vision == "on") config.lora->modules_to_save.push_back("vpm");
    if (options.tune_audio == "on") {
      config.lora->modules_to_save.push_back("apm");
      config.lora->modules_to_save.push_back("audio_projection_layer");
    }
  }
  LoraConfig& lora = *config.lora;
  take(lora.r, options.lora_rank);
  take(lora.alpha, options.lora_alpha);
  take(lora.dropout, options.lora_dropout);
  take(lora.target_regex, options.lora_targets);
  if (!options.lora_save.empty()) lora.modules_to_save = options.lora_save;
}

void take_stage(TrainConfig& config, const Options& options) {
  if (config.stages.empty()) {
    config.stages.emplace_back();
    config.stages[0].schedule.warmup = 0.01;
    if (options.adapter) config.stages[0].learning_rate = kAdapterRate;
  }
  if (!options.data.empty()) {
    if (config.stages.size() > 1) fail(ErrorCode::kInvalidRequest, "DATA beside a configuration with several stages");
    config.stages[0].data = {options.data, "", {}, options.media_root};
  }
  for (StageConfig& stage : config.stages) {
    take(stage.epochs, options.epochs);
    if (options.epochs) stage.samples = 0;
    take(stage.samples, options.samples);
    take(stage.batch, options.batch);
    take(stage.accumulation, options.accumulation);
    take(stage.learning_rate, options.learning_rate);
    if (!options.schedule.empty()) stage.schedule.kind = parse_schedule(options.schedule);
    take(stage.schedule.warmup, options.warmup);
  }
}

TrainConfig config_of(const Options& options) {
  TrainConfig config;
  if (!options.config.empty()) config = read_train_config(options.config);
  take(config.model, options.model);
  config.out = options.out;
  config.resume = options.resume;
  config.from_scratch = config.from_scratch || options.from_scratch;
  take(config.tune_vision, options.tune_vision);
  take(config.tune_resampler, options.tune_resampler);
  take(config.tune_audio, options.tune_audio);
  take(config.tune_llm, options.tune_llm);
  take(config.optimizer.kind, options.optimizer);
  take(config.optimizer.weight_decay, options.weight_decay);
  take(config.optimizer.clip, options.clip);
  take(config.dtype, options.dtype);
  take(config.save_dtype, options.save_type);
  take(config.device, options.device);
  config.gradient_checkpointing = config.gradient_checkpointing || options.gradient_checkpointing;
  take(config.max_tokens, options.max_tokens);
  if (options.max_slices) config.max_slices = static_cast<int>(*options.max_slices);
  take(config.seed, options.seed);
  take(config.threads, options.threads);
  take(config.log_every, options.log_every);
  take(config.eval_every, options.eval_every);
  take(config.save_every, options.save_every);
  take(config.stop_after, options.stop_after);
  config.skip_bad = config.skip_bad || options.skip_bad;
  if (!options.eval_data.empty()) config.eval.push_back({"held_out", {options.eval_data, "", {}, ""}, 1000});
  take_adapter(config, options);
  take_stage(config, options);
  return config;
}

std::string rate_text(double rate) {
  return rate < 10 ? fmt::format("{:.1f}", rate) : fmt::format("{:.0f}", rate);
}

}  // namespace

int run_train_sft(const Options& options) {
  const TrainConfig config = config_of(options);
  check_train_config(config);
  const auto communicator = make_communicator();
  const bool quiet = options.json || communicator->rank() != 0;
  std::optional<Progress> progress;
  TrainHooks hooks;
  hooks.progress = [&](const TrainProgress& p) {
    if (!progress) {
      progress.emplace(p.steps,
                       ProgressOptions{.label = "training", .unit_name = "updates", .style = progress_style(quiet)},
                       p.first_step);
      return;
    }
    progress->update(p.step, fmt::format("{}  loss {:.4f}  {} tok/s  {} samples/s", p.stage, p.loss,
                                         rate_text(p.tokens_per_second), rate_text(p.samples_per_second)));
  };
  hooks.message = [&](std::string_view line) {
    if (quiet) return;
    if (progress) {
      progress->message(line);
    } else {
      note(std::string(line) + "\n");
    }
  };
  const Answering interruptible;
  hooks.stop = interruptible.cancel();
  const TrainResult result = run_training(config, hooks, *communicator);
  if (progress && result.finished) progress->finish();
  progress.reset();
  if (communicator->rank() != 0) return kExitOk;
  if (options.json) {
    print_json({{"finished", result.finished},
                {"steps", result.steps},
                {"loss", result.loss},
                {"skipped_samples", result.skipped_samples},
                {"skipped_updates", result.skipped_updates},
                {"output", config.out}});
  }
  if (result.finished) return kExitOk;
  if (!options.json) note(fmt::format("stopped after update {}; --resume goes on\n", result.steps));
  return hooks.stop != nullptr && *hooks.stop ? kExitInterrupted : kExitOk;
}

}  // namespace minicpm::cli
