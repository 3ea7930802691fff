// What a training run does: read from a JSON file, from flags, or both. No torch here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "models/lora.h"
#include "train/schedule.h"

namespace minicpm {

/// Samples: a file of conversations, or a plug-in that makes them.
struct DataConfig {
  std::string file;                // JSON or JSONL
  std::string plugin;              // shared library; see train/plugin_source.h
  Json options;                    // of the plug-in
  std::string media_root;          // of relative paths in the file; empty: its folder
  bool independent_turns = false;  // see EncodeOptions
};

/// One part of a run with its own data and rates. A plain fine-tuning has one.
struct StageConfig {
  std::string name = "sft";
  DataConfig data;
  int64_t samples = 0;  // seen in this stage; 0: `epochs` times the data
  double epochs = 1;
  int64_t batch = 1;         // samples of one micro-batch of one process
  int64_t accumulation = 1;  // micro-batches of one update
  double learning_rate = 1e-6;
  ScheduleConfig schedule;   // steps are filled in by the trainer
  double answer_loss = 1;    // weight of the cross-entropy on answers; 0: the language model is not run
  double cell_loss = 0;      // weight of the auxiliary loss on labelled half patches
  double speech_loss = 0;    // weight of the auxiliary loss on the rows of sounds whose words are known
  int64_t sort_batches = 8;  // so many batches are drawn together and sorted by length; 1: as they come
  bool shuffle = true;
  /// Factors on the learning rate for tensors whose name starts with the text; the longest match counts, 0 freezes.
  std::vector<std::pair<std::string, double>> rate_scale;
};

struct EvalSet {
  std::string name;
  DataConfig data;
  int64_t samples = 100;
};

struct OptimizerConfig {
  std::string kind = "adamw";  // "adamw", or "muon" for matrices with AdamW for the rest
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;  // of matrices
  double momentum = 0.95;     // of muon
  double clip = 1.0;          // largest norm of the gradient; 0: none
};

struct TrainConfig {
  std::string model;  // folder with config.json and tokenizer; weights too unless `from_scratch`
  std::string out;    // folder
  bool from_scratch = false;
  /// With from_scratch: tensors whose name starts with the text come from that model folder.
  std::vector<std::pair<std::string, std::string>> parts;
  std::vector<StageConfig> stages;
  std::vector<EvalSet> eval;

  bool tune_vision = true, tune_resampler = true, tune_audio = true, tune_llm = true;
  std::optional<LoraConfig> lora;
  OptimizerConfig optimizer;
  std::string dtype = "f32";  // or "bf16": products and branches; weights stay in f32
  std::string save_dtype = "bf16";
  std::string device = "cpu";  // or "cuda"
  bool gradient_checkpointing = false;
  int64_t max_tokens = 2048;
  std::optional<int> max_slices;
  int64_t cell_classes = 0;  // of the auxiliary head; 0: none
  uint64_t seed = 1;
  int threads = 0;  // 0: one per processor

  int64_t log_every = 10;    // updates
  int64_t eval_every = 0;    // updates; 0: at the end of each stage
  int64_t save_every = 0;    // updates; 0: by time
  double save_minutes = 10;  // at most so long without a checkpoint
  int64_t keep = 2;          // checkpoints
  bool resume = false;
  bool skip_bad = false;
  int64_t stop_after = 0;  // updates of this call, then a checkpoint and the end; 0: no limit
};

/// Throws Error bad_file naming the file and the key: unknown keys, wrong types, values out of range.
TrainConfig read_train_config(const std::filesystem::path& file);
/// The same from parsed JSON; `source` stands in messages. Keys that are present replace the values of `base`.
TrainConfig parse_train_config(const Json& json, const std::string& source, TrainConfig base = {});
/// Every key with its value: kept beside the run, and compared on --resume.
Json train_config_json(const TrainConfig& config);
/// Throws Error invalid_request for values that cannot work together.
void check_train_config(const TrainConfig& config);

}  // namespace minicpm
