// Folds an adapter into the weights of a Hugging Face folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "models/lora.h"

namespace minicpm {

struct MergeOptions {
  std::filesystem::path base;  // folder in the Hugging Face layout
  std::filesystem::path out;   // must not exist, or be an empty folder
  std::optional<DType> type;   // f32, f16 or bf16 for all weights; unset: each tensor keeps its own
  int64_t shard_bytes = 0;     // largest weight file; 0: as published checkpoints
  int num_threads = 0;         // 0: one per processor
};

struct MergeReport {
  int64_t adapted = 0;   // matrices that got W + scale * B A
  int64_t replaced = 0;  // tensors that the adapter holds whole
  int64_t tensors = 0;   // written
  int64_t bytes = 0;     // of weights
  int64_t files = 0;     // of weights
};

/// Called now and then with the bytes written and in total; may throw to stop.
using MergeProgress = std::function<void(int64_t done, int64_t total)>;

/// Writes `out`: weights with the adapter added in f32 and rounded once, tensor by tensor, and every other file of the
/// base as it is (torch_dtype of config.json follows `type`). The folder appears when it is complete. Throws Error
/// bad_file when the adapter does not fit the base, invalid_request when a value does not fit f16, io.
MergeReport merge_lora(Lora& lora, const MergeOptions& options, const MergeProgress& progress = {});

}  // namespace minicpm
