#include "train/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "base/machine.h"

namespace minicpm {
namespace {

constexpr int64_t kFloat = 4;              // bytes
constexpr int64_t kProgram = 200 << 20;    // resident size with libtorch 1.13 and OpenBLAS loaded, measured 160 MiB
constexpr double kOtherActivations = 1.1;  // dropout masks, adapters, index vectors, fragmentation
constexpr double kGiB = 1 << 30;

/// What a layer keeps for each row: values in f32 (the residual stream) and in the compute type.
struct KeptPerRow {
  int64_t residual = 0;
  int64_t compute = 0;
  int64_t bytes(int64_t element) const { return residual * kFloat + compute * element; }
};

KeptPerRow decoder_layer(const DecoderConfig& d, int64_t longest) {
  // Inputs of both norms; both normed; q, k before and q, k, v after their norms and rotation; what attention gives;
  // gate, up and their product; the attention's probabilities.
  const int64_t compute = 2 * d.hidden_size + (d.q_dim + d.kv_dim) + (d.q_dim + 2 * d.kv_dim) + d.q_dim +
                          3 * d.intermediate_size + d.num_heads * longest;
  return {2 * d.hidden_size, compute};
}

KeptPerRow vision_layer(const VisionConfig& v, int64_t slice_patches) {
  // Inputs of both norms; both normed; q, k, v; what attention gives; fc1 before and after GELU; probabilities.
  return {2 * v.hidden_size, 6 * v.hidden_size + 2 * v.intermediate_size + v.num_heads * slice_patches};
}

KeptPerRow sound_layer(const AudioConfig& a, int64_t longest) {
  return {2 * a.hidden_size, 6 * a.hidden_size + 2 * a.intermediate_size + a.num_heads * longest};
}

/// Of `layers` layers on `rows` rows. A part that keeps nothing still needs one layer at a time.
double layers_bytes(const KeptPerRow& kept, int64_t layers, int64_t rows, int64_t element, bool keeps,
                    bool checkpointing) {
  const auto row_count = static_cast<double>(rows);
  const double one = row_count * static_cast<double>(kept.bytes(element));
  if (!keeps) return one;
  const double input = row_count * static_cast<double>(kept.residual / 2 * kFloat);
  // The gradients on the way back take about as much as one layer keeps.
  return checkpointing ? static_cast<double>(layers) * input + 2 * one : static_cast<double>(layers + 1) * one;
}

double activation_bytes(const ModelConfig& config, const TrainingMemoryRequest& r) {
  const DecoderConfig& d = config.decoder;
  const int64_t element = info(r.compute_dtype).block_bytes;
  double bytes = layers_bytes(decoder_layer(d, r.longest_sample), d.num_layers, r.batch_tokens, element, true,
                              r.gradient_checkpointing);
  // Logits, their gradient, and one more on the way between them.
  const int64_t rows = r.trained_tokens > 0 ? r.trained_tokens : r.batch_tokens;
  bytes += 3.0 * static_cast<double>(rows) * static_cast<double>(d.vocab_size * element);
  if (config.has_vision() && r.batch_patches > 0) {
    const VisionConfig& v = *config.vision;
    const ResamplerConfig& s = *config.resampler;
    const auto patches = static_cast<double>(r.batch_patches);
    bytes += layers_bytes(vision_layer(v, std::min(r.batch_patches, most_patches(config, 0))), v.num_layers,
                          r.batch_patches, element, r.trains_vision, r.gradient_checkpointing);
    // The tower's rows, keys and values in their forms, probabilities.
    const int64_t kept = 2 * v.hidden_size + 6 * s.embed_dim + s.num_heads * s.query_num;
    bytes += patches * static_cast<double>(kept * element);
    bytes += (patches + static_cast<double>(r.waiting_patches)) * static_cast<double>(v.patch_dim * kFloat);
  }
  if (config.has_audio() && r.batch_frames > 0) {
    const AudioConfig& a = *config.audio;
    bytes += layers_bytes(sound_layer(a, r.longest_sound), a.num_layers, r.batch_frames, element, r.trains_sound,
                          r.gradient_checkpointing);
    // Windows of both convolutions, the first at twice the rate; the projection's rows.
    const int64_t kept = 2 * 3 * a.mel_bins + 2 * 2 * a.hidden_size + 4 * a.hidden_size + 3 * a.output_size;
    bytes += static_cast<double>(r.batch_frames) * static_cast<double>(kept * element);
  }
  return bytes * kOtherActivations;
}

/// Optional tensors that the version of a model has.
bool has_tensor(const ModelConfig& config, const TensorSpec& spec) {
  const std::string_view name = spec.hf;
  if (spec.presence == Presence::kRequired) return true;
  if (name.ends_with("lm_head.weight")) return !config.decoder.tied_embeddings;
  const std::string_view arch = config.version->gguf_arch;
  if (name.ends_with("_norm.weight")) return arch == "qwen3";
  return arch == "qwen2";  // biases of q, k and v
}

std::string gib(int64_t bytes) {
  const double value = static_cast<double>(bytes) / kGiB;
  return value < 0.1 ? fmt::format("{:.1f} MiB", value * 1024) : fmt::format("{:.1f} GiB", value);
}

std::string millions(int64_t count) {
  return fmt::format("{:.1f} M parameters", static_cast<double>(count) / 1e6);
}

}  // namespace

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  for (const PartSpec& part : tensor_specs(config)) {
    if (!has_tensor(config, part.spec)) continue;
    const std::string_view name = part.spec.hf;
    int64_t& count = part.part == ModelPart::kLanguage    ? counts.language
                     : name.starts_with(kResamplerPrefix) ? counts.resampler
                     : name.starts_with(kVisionPrefixHf)  ? counts.vision
                                                          : counts.sound;
    count += part.spec.numel();
  }
  return counts;
}

int64_t most_patches(const ModelConfig& config, int max_slices) {
  if (!config.has_vision()) return 0;
  const int64_t side = (config.slices.scale_resolution + config.vision->patch_size - 1) / config.vision->patch_size;
  return (1 + std::max<int64_t>(0, max_slices)) * side * side;
}

TrainingMemoryPlan plan_training_memory(const ModelConfig& config, const TrainingMemoryRequest& r) {
  TrainingMemoryPlan plan;
  const double activations = activation_bytes(config, r);
  const double weights = static_cast<double>(r.total_parameters);
  constexpr double kMost = 1e18;
  if (!(activations < kMost && weights < kMost / 64)) {
    fail(ErrorCode::kOutOfMemory, "training needs more memory than can be counted; is the batch that large?");
  }
  plan.total_parameters = r.total_parameters;
  plan.trained_parameters = r.trained_parameters;
  plan.gradient_checkpointing = r.gradient_checkpointing;
  plan.weights = r.total_parameters * kFloat;
  // Copies in the compute type live from their use to the way back; with checkpointing only those of one layer do.
  if (r.compute_dtype != DType::kF32 && !r.gradient_checkpointing)
    plan.weights += r.total_parameters * info(r.compute_dtype).block_bytes;
  plan.gradients = r.trained_parameters * kFloat;
  plan.optimizer = r.trained_parameters * kFloat * r.optimizer_states;
  plan.activations = static_cast<int64_t>(activations);
  plan.program = kProgram;
  plan.total = plan.weights + plan.gradients + plan.optimizer + plan.activations + plan.program;
  return plan;
}

std::string training_memory_table(const TrainingMemoryPlan& plan) {
  struct Row {
    std::string_view name;
    int64_t bytes;
    std::string note;
  };
  const std::array<Row, 6> rows = {{
      {"weights", plan.weights, millions(plan.total_parameters)},
      {"gradients", plan.gradients, millions(plan.trained_parameters) + " are trained"},
      {"optimizer", plan.optimizer, ""},
      {"activations", plan.activations, plan.gradient_checkpointing ? "with gradient checkpointing" : ""},
      {"program", plan.program, ""},
      {"total", plan.total, ""},
  }};
  std::string table;
  for (const Row& row : rows)
    table += fmt::format("{:<12}{:>10}{}{}\n", row.name, gib(row.bytes), row.note.empty() ? "" : "  ", row.note);
  return table;
}

int64_t training_memory_available() {
  const int64_t free = machine_memory().available_bytes;
  return free > 0 ? free + anonymous_rss_bytes() : 0;
}

void require_training_memory(const TrainingMemoryPlan& plan, int64_t available_bytes) {
  if (available_bytes <= 0 || plan.total <= available_bytes) return;
  // An adapter trains a small share of the weights; advice that was already taken is left out.
  const bool adapter = plan.trained_parameters < plan.total_parameters / 4;
  fail(ErrorCode::kOutOfMemory, "training needs {}, {} are free; try {}{}a smaller --batch", gib(plan.total),
       gib(available_bytes), adapter ? "" : "--lora, ",
       plan.gradient_checkpointing ? "" : "--gradient-checkpointing, ");
}

}  // namespace minicpm
