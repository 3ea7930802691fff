#include "train/torch/session.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>

#include "base/error.h"
#include "base/file_map.h"
#include "base/machine.h"
#include "io/safetensors.h"
#include "train/memory_plan.h"

namespace minicpm::train {
namespace {

namespace fs = std::filesystem;

constexpr double kNothingWeight = 0.25;  // of half patches that show nothing, in the auxiliary loss
constexpr int64_t kMaxSkippedInARow = 100;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The settings that decided the course of a run so far; the others, and stages that have not begun, may change on
/// --resume.
Json fixed_settings(Json config, int64_t stages_begun) {
  Json& stages = config["stages"];
  while (static_cast<int64_t>(stages.size()) > stages_begun)
    stages.erase(stages.size() - 1);
  for (const char* key : {"out", "log_every", "eval_every", "save_every", "save_minutes", "keep", "eval", "threads"})
    config.erase(key);
  return config;
}

}  // namespace

Session::Session(const TrainConfig& config, const TrainHooks& hooks, Communicator& communicator)
    : config_(config), hooks_(hooks), communicator_(&communicator) {
  at::set_num_threads(config.threads > 0 ? config.threads : usable_processors());
  if (config.device == "cuda" && !torch::cuda::is_available()) {
    fail(ErrorCode::kUnsupported, "device cuda: this libtorch finds no CUDA device");
  }
  if (config.device == "cuda") device_ = at::Device(at::kCUDA, 0);
  const ModelFiles files = find_model_files(config.model, "");
  description_ = read_description(files);
  check_vocabulary(description_.config, *description_.tokenizer);
  if (description_.config.gguf) {
    fail(ErrorCode::kUnsupported, "{}: training starts from a Hugging Face folder, not from GGUF files", config.model);
  }
  config_.model = files.folder.string();  // a name like "pico" until here
  processor_.emplace(description_.config, *description_.tokenizer);
  const auto listens = [](const StageConfig& stage) { return stage.speech_loss > 0; };
  if (std::ranges::any_of(config.stages, listens)) {
    const auto unknown = description_.tokenizer->token_id("<unk>");
    if (!description_.config.has_audio() || !unknown) {
      fail(ErrorCode::kInvalidRequest, "{}: speech_loss needs a model that hears, with the token <unk>", config.model);
    }
    between_words_ = *unknown;
  }
  load_parameters();
  choose_trained();
  ModelOptions options;
  options.compute = config.dtype == "bf16" ? at::kBFloat16 : at::kFloat;
  options.gradient_checkpointing = config.gradient_checkpointing;
  if (config.lora) {
    options.lora_scale = config.lora->scale();
    options.lora_dropout = config.lora->dropout;
  }
  model_.emplace(description_.config, parameters_, options);
}

void Session::load_parameters() {
  const ModelConfig& model = description_.config;
  if (config_.from_scratch) {
    parameters_ = Parameters::random(model, config_.seed);
    take_parts();
  } else {
    parameters_ = Parameters::load(model, *open_safetensors_folder(config_.model));
  }
  if (config_.lora) parameters_.add_lora(*config_.lora, config_.seed);
  if (config_.cell_classes > 0 && model.has_vision()) {
    at::Generator generator = at::detail::createCPUGenerator(config_.seed + 1);
    const int64_t width = model.vision->hidden_size, outputs = 2 * config_.cell_classes;
    parameters_.add("cells.weight", at::randn({outputs, width}, generator) / std::sqrt(static_cast<double>(width)));
    parameters_.add("cells.bias", at::zeros({outputs}));
  }
  parameters_.to(device_);
}

void Session::take_parts() {
  for (const auto& [prefix, folder] : config_.parts) {
    const ModelFiles files = find_model_files(folder, "");
    const auto source = open_safetensors_folder(files.folder);
    int64_t taken = 0;
    for (const auto& [name, value] : parameters_.all()) {
      const StoredTensor* stored = name.starts_with(prefix) ? source->find(name) : nullptr;
      if (stored == nullptr) continue;
      const std::vector<int64_t> shape(stored->view.shape().begin(), stored->view.shape().end());
      if (at::IntArrayRef(shape) != value.sizes()) {
        fail(ErrorCode::kBadFile, "{}: tensor {} has the shape {}, expected {}", source->path(), name,
             shape_string(shape), shape_string(value.sizes().vec()));
      }
      value.copy_(to_torch(stored->view, shape, value.scalar_type()));
      ++taken;
    }
    if (taken == 0) fail(ErrorCode::kBadFile, "{}: no tensor whose name begins with {} fits", source->path(), prefix);
  }
}

void Session::choose_trained() {
  std::optional<LoraSelection> selection;
  if (config_.lora) selection.emplace(*config_.lora);
  std::vector<std::pair<std::string, Tensor>> trained;
  for (const auto& [name, value] : parameters_.all()) {
    bool train = config_.tune_llm;
    if (name.starts_with("vpm.") || name.starts_with("cells.")) train = config_.tune_vision;
    if (name.starts_with("resampler.")) train = config_.tune_resampler;
    if (name.starts_with(kAudioPrefix) || name.starts_with(kAudioProjectorPrefix)) train = config_.tune_audio;
    const bool adapter = name.ends_with(".lora_A") || name.ends_with(".lora_B");
    if (selection) train = adapter || selection->saves_whole(name);
    if (!train) continue;
    value.set_requires_grad(true);
    trained.emplace_back(name, value);
  }
  if (trained.empty()) fail(ErrorCode::kInvalidRequest, "every part of the model is frozen: nothing to train");
  optimizer_.emplace(config_.optimizer, std::move(trained));
}

void Session::say(const std::string& line) const {
  if (first() && hooks_.message) hooks_.message(line);
}

void Session::resume(const fs::path& checkpoint) {
  state_ = read_checkpoint_state(checkpoint);
  const int64_t begun = state_.stage + (state_.stage_step > 0 ? 1 : 0);
  const Json settings = train_config_json(config_);
  // Settings that the run did not know yet have their defaults.
  const std::string source = (checkpoint / "state.json").string();
  const Json before = train_config_json(parse_train_config(state_.config, source));
  if (fixed_settings(before, begun) != fixed_settings(settings, begun)) {
    fail(ErrorCode::kInvalidRequest, "{}: was written by a run with other settings; use the same ones or another --out",
         checkpoint.string());
  }
  state_.config = settings;
  read_checkpoint(checkpoint, parameters_, *optimizer_);
  seconds_before_ = state_.seconds;
  say(fmt::format("resuming after update {} from {}", state_.step, checkpoint.string()));
}

TrainResult Session::run() {
  std::error_code error;
  if (first()) {
    fs::create_directories(config_.out, error);
    if (error) fail(ErrorCode::kIo, "{}: cannot be created: {}", config_.out, error.message());
  }
  state_.config = train_config_json(config_);
  const auto checkpoint = newest_checkpoint(config_.out);
  if (config_.resume && checkpoint) {
    resume(*checkpoint);
  } else if (checkpoint) {
    fail(ErrorCode::kInvalidRequest, "{}: holds checkpoints of an earlier run; add --resume or use another --out",
         config_.out);
  }
  communicator_->barrier();
  if (first()) {
    RunLogOptions options;
    if (state_.step > 0) options.resume_step = state_.step;
    log_ = std::make_unique<RunLog>(config_.out, options);
    write_file_atomically(fs::path(config_.out) / "train.json", train_config_json(config_).dump(2) + "\n");
  }
  started_ = last_save_ = now();
  first_step_ = state_.step;
  for (const StageConfig& stage : config_.stages) {
    const auto source = open_source(stage.data, description_.config);
    StreamOptions options;
    options.processes = communicator_->size();
    stage_steps_.push_back(BatchStream(*processor_, *source, stage, options).steps());
  }
  report(config_.stages[std::min<size_t>(state_.stage, config_.stages.size() - 1)], {});
  const auto stages = static_cast<int64_t>(config_.stages.size());
  while (state_.stage < stages && !stopping_) {
    run_stage(state_.stage);
    if (state_.stage_step < stage_steps_[state_.stage]) break;  // stopped
    ++state_.stage;
    state_.stage_step = 0;
    evaluate();
    save_checkpoint();
  }
  result_.finished = state_.stage == stages;
  result_.steps = state_.step;
  if (result_.finished) {
    if (first()) save_result();
    result_.output = config_.out;
  } else {
    save_checkpoint();
  }
  communicator_->barrier();
  return result_;
}

void Session::run_stage(size_t index) {
  const StageConfig& stage = config_.stages[index];
  const auto source = open_source(stage.data, description_.config);
  StreamOptions options;
  options.encode.max_tokens = config_.max_tokens;
  options.encode.max_slices = config_.max_slices;
  options.encode.independent_turns = stage.data.independent_turns;
  options.seed = config_.seed + 1000 * index;
  options.rank = communicator_->rank();
  options.processes = communicator_->size();
  options.skip_bad = config_.skip_bad;
  options.on_bad = [this](const std::string& reason) {
    ++result_.skipped_samples;
    say("skipped: " + reason);
  };
  BatchStream stream(*processor_, *source, stage, options);
  if (!planned_) plan_memory(stream);
  planned_ = true;

  double since = now();
  int64_t updates = 0;
  Update sum;
  while (state_.stage_step < stream.steps() && !stopping_) {
    if (config_.stop_after > 0 && updates_of_call_ >= config_.stop_after) return;
    const Update last = update(stream, stage, state_.stage_step);
    ++state_.step, ++state_.stage_step, ++updates, ++updates_of_call_;
    state_.samples += static_cast<int64_t>(last.counts.samples);
    sum.loss += last.loss, sum.answers += last.answers, sum.cells += last.cells, sum.speech += last.speech,
        sum.norm += last.norm;
    sum.counts.text += last.counts.text, sum.counts.samples += last.counts.samples;
    sum.rate = last.rate;
    result_.loss = last.loss;
    if (state_.stage_step % std::max<int64_t>(1, config_.log_every) == 0 || state_.stage_step == stream.steps()) {
      log(stage, sum, updates, now() - since);
      since = now(), updates = 0, sum = {};
    }
    const bool end = state_.stage_step == stream.steps();
    if (!end && config_.eval_every > 0 && state_.step % config_.eval_every == 0) {
      const double before = now();
      evaluate();
      since += now() - before;  // evaluation is no part of the speed
    }
    // The first process decides by its clock, all act together.
    const bool due = config_.save_every > 0 ? state_.step % config_.save_every == 0
                                            : first() && now() - last_save_ > 60 * config_.save_minutes;
    double flags[] = {due ? 1.0 : 0.0, hooks_.stop != nullptr && *hooks_.stop ? 1.0 : 0.0};
    communicator_->all_reduce_sum(std::span(flags));
    stopping_ = stopping_ || flags[1] > 0;
    if (!end && flags[0] > 0) save_checkpoint();
  }
}

Session::Counts Session::count(const std::vector<std::vector<const EncodedSample*>>& micro,
                               const StageConfig& stage) const {
  double values[5] = {};
  for (const auto& samples : micro) {
    for (const EncodedSample* sample : samples) {
      values[0] += static_cast<double>(sample->trained_tokens);
      values[2] += 1;
      values[3] += static_cast<double>(sample->input.tokens.size());
      if (stage.speech_loss > 0) {
        for (const auto& spoken : sample->spoken)
          values[4] += static_cast<double>(spoken.size());
      }
      if (stage.cell_loss == 0) continue;
      for (const auto& cells : sample->cells) {
        for (int32_t cell : cells)
          values[1] += cell == 0 ? kNothingWeight : cell > 0 ? 1.0 : 0.0;
      }
    }
  }
  communicator_->all_reduce_sum(std::span(values));
  return {values[0], values[1], values[2], values[3], values[4]};
}

Batch Session::batch_of(const std::vector<const EncodedSample*>& samples) const {
  Batch batch = make_batch(description_.config, samples);
  return device_.is_cpu() ? batch : batch.to(device_);
}

Tensor Session::cell_loss(const Batch& batch, const Tensor& features, double weight) const {
  const Tensor logits = fn::linear(features, parameters_.at("cells.weight"), parameters_.at("cells.bias"))
                            .reshape({-1, config_.cell_classes});
  const auto options = at::TensorOptions(at::kFloat).device(device_);
  const Tensor weights =
      at::where(batch.cells.eq(0), at::full({}, kNothingWeight * weight, options), at::full({}, weight, options));
  return fn::cross_entropy(logits, batch.cells, weights).value;
}

// Connectionist temporal classification: the language model's output layer, applied to the rows of a sound, is to name
// the tokens that are said in their order, with <unk>, which also holds the sound's places in the prompt, between them.
Tensor Session::speech_loss(const Batch& batch, const Tensor& sound_rows, double weight) const {
  const SoundBatch& sound = batch.sound;
  const int64_t count = sound.spoken_rows.size(0), longest = sound.spoken_rows.size(1);
  const Tensor log_p = model_->logits(sound_rows, sound.spoken_rows.view({-1})).to(at::kFloat).log_softmax(-1);
  const Tensor by_time = log_p.view({count, longest, log_p.size(1)}).transpose(0, 1);
  const Tensor loss = at::ctc_loss(by_time, sound.spoken_tokens, at::IntArrayRef(sound.spoken_row_counts),
                                   at::IntArrayRef(sound.spoken_lengths), between_words_, at::Reduction::Sum, true);
  return loss * weight;
}

Session::Losses Session::losses(const Batch& batch, const StageConfig& stage, const Counts& counts) const {
  Losses result;
  Tensor features, image_rows, sound_rows;
  const bool answers = stage.answer_loss > 0 && batch.targets.numel() > 0;
  const auto add = [&result](const Tensor& loss, double weight) {
    const Tensor part = loss * weight;
    result.total = result.total.defined() ? result.total + part : part;
    return loss.item<double>();
  };
  if (batch.has_pictures()) {
    features = model_->tower(batch);
    if (stage.cell_loss > 0 && batch.cells.defined()) {
      result.cells = add(cell_loss(batch, features, 1.0 / std::max(counts.cells, 1.0)), stage.cell_loss);
    }
    if (answers) image_rows = model_->resample(batch, features);
  }
  if (batch.has_sound()) {
    sound_rows = model_->hear(batch);
    if (stage.speech_loss > 0 && batch.sound.spoken_rows.defined()) {
      result.speech = add(speech_loss(batch, sound_rows, 1.0 / std::max(counts.spoken, 1.0)), stage.speech_loss);
    }
  }
  if (answers) {
    const Tensor logits = model_->logits(model_->decode(batch, image_rows, sound_rows), batch.loss_rows);
    const Tensor weights = at::full({batch.targets.size(0)}, 1.0 / std::max(counts.tokens, 1.0),
                                    at::TensorOptions(at::kFloat).device(device_));
    result.answers = add(fn::cross_entropy(logits, batch.targets, weights).value, stage.answer_loss);
  }
  return result;
}

Session::Update Session::update(BatchStream& stream, const StageConfig& stage, int64_t step) {
  Update result;
  const auto micro = stream.micro_batches(step);
  result.counts = count(micro, stage);
  torch::manual_seed(config_.seed * 1000003 + state_.step * communicator_->size() + communicator_->rank());  // dropout
  model_->set_training(true);
  optimizer_->zero_grad();
  double sums[3] = {};
  for (const auto& samples : micro) {
    if (samples.empty()) continue;
    const Losses part = losses(batch_of(samples), stage, result.counts);
    if (!part.total.defined()) continue;
    part.total.backward();
    sums[0] += part.answers;
    sums[1] += part.cells;
    sums[2] += part.speech;
  }
  average_gradients();
  communicator_->all_reduce_sum(std::span(sums));
  result.answers = sums[0], result.cells = sums[1], result.speech = sums[2];
  result.loss = stage.answer_loss * sums[0] + stage.cell_loss * sums[1] + stage.speech_loss * sums[2];

  ScheduleConfig schedule = stage.schedule;
  schedule.steps = stream.steps();
  const double factor = learning_rate_factor(schedule, step);
  result.rate = stage.learning_rate * factor;
  result.norm = optimizer_->grad_norm();
  if (!std::isfinite(result.norm) || !std::isfinite(result.loss)) {
    ++result_.skipped_updates;
    if (++skipped_in_a_row_ >= kMaxSkippedInARow) {
      fail(ErrorCode::kInternal, "{} updates in a row had a gradient that is not finite; lower the learning rate",
           skipped_in_a_row_);
    }
    say(fmt::format("update {} left out: its gradient is not finite", state_.step + 1));
    result.skipped = true;
    result.loss = result.norm = result.answers = result.cells = result.speech = 0;
    return result;
  }
  skipped_in_a_row_ = 0;
  const double clip = config_.optimizer.clip;
  optimizer_->step(rates(stage, factor), clip > 0 && result.norm > clip ? clip / result.norm : 1.0);
  return result;
}

void Session::average_gradients() {
  if (communicator_->size() == 1) return;
  const auto& parameters = optimizer_->parameters();
  std::vector<float> reached(parameters.size());  // by how many processes' samples
  for (size_t i = 0; i < parameters.size(); ++i)
    reached[i] = parameters[i].second.grad().defined() ? 1.0f : 0.0f;
  communicator_->all_reduce_sum(std::span(reached));
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (reached[i] == 0) continue;
    Tensor& gradient = parameters[i].second.mutable_grad();
    if (!gradient.defined()) gradient = at::zeros_like(parameters[i].second);
    const Tensor sum = gradient.to(at::kCPU).contiguous();
    communicator_->all_reduce_sum(std::span(sum.data_ptr<float>(), static_cast<size_t>(sum.numel())));
    gradient = sum.to(device_);
  }
}

std::vector<double> Session::rates(const StageConfig& stage, double factor) const {
  std::vector<double> result;
  for (const auto& [name, value] : optimizer_->parameters()) {
    double scale = 1;
    size_t longest = 0;
    for (const auto& [prefix, own] : stage.rate_scale) {
      if (name.starts_with(prefix) && prefix.size() >= longest) scale = own, longest = prefix.size();
    }
    result.push_back(stage.learning_rate * factor * scale);
  }
  return result;
}

void Session::log(const StageConfig& stage, const Update& sum, int64_t updates, double seconds) {
  if (!first()) return;
  const auto n = static_cast<double>(updates);
  StepRecord record;
  record.step = state_.step;
  record.samples = state_.samples;
  record.loss = sum.loss / n;
  record.learning_rate = sum.rate;
  record.grad_norm = sum.norm / n;
  record.tokens_per_second = sum.counts.text / seconds;
  record.seconds = seconds_before_ + now() - started_;
  if (stage.answer_loss > 0) record.extra.emplace_back("answer_loss", sum.answers / n);
  if (stage.cell_loss > 0) record.extra.emplace_back("cell_loss", sum.cells / n);
  if (stage.speech_loss > 0) record.extra.emplace_back("speech_loss", sum.speech / n);
  log_->add(record);
  TrainProgress progress;
  progress.loss = record.loss;
  progress.tokens_per_second = record.tokens_per_second;
  progress.samples_per_second = sum.counts.samples / seconds;
  report(stage, progress);
}

void Session::report(const StageConfig& stage, TrainProgress progress) const {
  if (!first() || !hooks_.progress) return;
  progress.stage = stage.name;
  progress.step = state_.step;
  progress.first_step = first_step_;
  for (int64_t steps : stage_steps_)
    progress.steps += steps;
  hooks_.progress(progress);
}

void Session::plan_memory(BatchStream& stream) {
  TrainingMemoryRequest request;
  for (const auto& samples : stream.micro_batches(state_.stage_step)) {
    int64_t longest = 0, patches = 0, trained = 0, frames = 0;
    for (const EncodedSample* sample : samples) {
      longest = std::max(longest, static_cast<int64_t>(sample->input.tokens.size()));
      trained += sample->trained_tokens;
      for (const auto& item : sample->input.media) {
        for (const Patches& slice : item->slices)
          patches += int64_t{slice.h} * slice.w;
        for (const MelFrames& mel : item->sounds) {
          frames += AudioConfig::encoder_frames(mel.frames);
          request.longest_sound = std::max(request.longest_sound, AudioConfig::encoder_frames(mel.frames));
        }
      }
    }
    request.batch_frames = std::max(request.batch_frames, frames);
    request.longest_sample = std::max(request.longest_sample, longest);
    request.batch_tokens = std::max(request.batch_tokens, longest * static_cast<int64_t>(samples.size()));
    request.batch_patches = std::max(request.batch_patches, patches);
    request.trained_tokens = std::max(request.trained_tokens, trained);
  }
  request.waiting_patches = stream.waiting_patches();
  request.total_parameters = parameters_.count();
  for (const auto& [name, value] : optimizer_->parameters()) {
    request.trained_parameters += value.numel();
    request.trains_vision = request.trains_vision || name.starts_with("vpm.");
    request.trains_resampler = request.trains_resampler || name.starts_with("resampler.");
    request.trains_sound = request.trains_sound || name.starts_with(kAudioPrefix);
  }
  request.compute_dtype = config_.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  request.gradient_checkpointing = config_.gradient_checkpointing;
  const TrainingMemoryPlan plan = plan_training_memory(description_.config, request);
  std::istringstream table(training_memory_table(plan));
  for (std::string line; std::getline(table, line);)
    say(line);
  if (device_.is_cpu()) require_training_memory(plan, training_memory_available());
}

std::vector<Scalar> Session::evaluate_set(const EvalSet& set) {
  at::NoGradGuard no_grad;
  model_->set_training(false);
  std::vector<std::unique_ptr<EncodedSample>> samples;
  const auto source = open_source(set.data, description_.config);
  const int64_t n = std::min(set.samples, source->size());
  samples.resize(n);
  EncodeOptions options;
  options.max_tokens = config_.max_tokens;
  options.max_slices = config_.max_slices;
  options.independent_turns = set.data.independent_turns;
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      samples[i] = std::make_unique<EncodedSample>(encode_sample(*processor_, source->sample(i), options));
  });
  constexpr int64_t kBatch = 16;
  double loss = 0, tokens = 0, turns = 0, exact = 0, cells = 0, cell_hits = 0;
  for (int64_t first = 0; first < n; first += kBatch) {
    std::vector<const EncodedSample*> part;
    for (int64_t i = first; i < std::min(n, first + kBatch); ++i)
      part.push_back(samples[i].get());
    const Batch batch = batch_of(part);
    Tensor features, image_rows, sound_rows;
    if (batch.has_sound()) sound_rows = model_->hear(batch);
    if (batch.has_pictures()) {
      features = model_->tower(batch);
      image_rows = model_->resample(batch, features);
      if (config_.cell_classes > 0 && batch.cells.defined()) {
        const Tensor logits = fn::linear(features, parameters_.at("cells.weight"), parameters_.at("cells.bias"))
                                  .reshape({-1, config_.cell_classes});
        const Tensor shown = batch.cells.gt(0);
        cells += shown.sum().item<double>();
        cell_hits += logits.argmax(-1).eq(batch.cells).logical_and(shown).sum().item<double>();
      }
    }
    const Tensor logits = model_->logits(model_->decode(batch, image_rows, sound_rows), batch.loss_rows);
    const fn::Loss result = fn::cross_entropy(
        logits, batch.targets, at::ones({batch.targets.size(0)}, at::TensorOptions(at::kFloat).device(device_)));
    loss += result.value.item<double>();
    tokens += static_cast<double>(batch.targets.size(0));
    // A greedy answer is exact if and only if every token is the likeliest after the right ones before it.
    const Tensor hits = result.hit.to(at::kCPU);
    const bool* hit = hits.data_ptr<bool>();
    for (size_t i = 0; i < batch.target_turn.size();) {
      bool all = true;
      size_t j = i;
      for (; j < batch.target_turn.size() && batch.target_sample[j] == batch.target_sample[i] &&
             batch.target_turn[j] == batch.target_turn[i];
           ++j)
        all = all && hit[j];
      turns += 1;
      exact += all ? 1 : 0;
      i = j;
    }
  }
  std::vector<Scalar> scalars = {{"eval/" + set.name, exact / std::max(turns, 1.0)},
                                 {"eval_loss/" + set.name, loss / std::max(tokens, 1.0)}};
  if (cells > 0) scalars.emplace_back("eval_cells/" + set.name, cell_hits / cells);
  return scalars;
}

void Session::evaluate() {
  if (first() && !config_.eval.empty()) {
    std::vector<Scalar> all;
    std::string line = fmt::format("update {}:", state_.step);
    for (const EvalSet& set : config_.eval) {
      const auto scalars = evaluate_set(set);
      line += fmt::format("  {} {:.1f} %", set.name, 100 * scalars[0].second);
      if (scalars.size() > 2) line += fmt::format(" (cells {:.1f} %)", 100 * scalars[2].second);
      all.insert(all.end(), scalars.begin(), scalars.end());
    }
    log_->add_scalars(state_.step, all);
    say(line);
  }
  communicator_->barrier();
}

void Session::save_checkpoint() {
  last_save_ = now();
  if (!first()) return;
  state_.seconds = seconds_before_ + now() - started_;
  const fs::path path = write_checkpoint(config_.out, state_, parameters_, *optimizer_, config_.keep);
  say(fmt::format("update {}: wrote {}", state_.step, path.string()));
}

void Session::save_result() {
  if (config_.lora) {
    write_adapter(config_.out, config_, parameters_);
  } else {
    const auto before = config_.from_scratch ? nullptr : open_safetensors_folder(config_.model);
    write_model_folder(config_.out, config_.model, parameters_, config_.save_dtype, before.get());
  }
  say(fmt::format("wrote {}", config_.out));
}

}  // namespace minicpm::train
