// Low-rank adapters in the layout of PEFT: a folder with adapter_config.json and adapter_model.safetensors. A linear
// layer W [out, in] becomes W + scale * B A with A [r, in] and B [out, r]; other modules may lie beside, saved whole.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_map.h"
#include "io/weight_source.h"
#include "models/model_config.h"
#include "text/regex.h"

namespace minicpm {

/// The official fine-tuning targets: the four projections of the language model's attention.
inline constexpr std::string_view kLoraTargets = R"(llm\..*layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|o_proj))";

inline constexpr std::string_view kLoraConfigFile = "adapter_config.json";
inline constexpr std::string_view kLoraWeightsFile = "adapter_model.safetensors";

struct LoraConfig {
  int64_t r = 64;
  float alpha = 64.0f;
  float dropout = 0.05f;                     // in training only
  std::string target_regex{kLoraTargets};    // matches whole module names, "llm.model.layers.0.self_attn.q_proj"
  std::vector<std::string> modules_to_save;  // modules whose names end so are kept whole: "resampler", "embed_tokens"
  bool rslora = false;                       // scale by 1 / sqrt(r) instead of 1 / r
  std::string base_model;                    // base_model_name_or_path; for people
  std::string task_type = "CAUSAL_LM";

  float scale() const { return alpha / (rslora ? std::sqrt(static_cast<float>(r)) : static_cast<float>(r)); }
};

/// Which parts of a model a configuration asks for. Names are those of the Hugging Face checkpoint.
class LoraSelection {
 public:
  /// Throws Error bad_file when the regular expression is not valid.
  explicit LoraSelection(const LoraConfig& config);

  /// Whether the module ("llm.model.layers.0.self_attn.q_proj") gets an adapter.
  bool adapts(std::string_view module) const;
  /// Whether the tensor ("resampler.attn.in_proj_bias") lies in a module that is saved whole.
  bool saves_whole(std::string_view tensor) const;

 private:
  Regex targets_;
  std::vector<std::string> modules_to_save_;
};

/// One adapted linear layer.
struct LoraLayer {
  std::string module;  // "llm.model.layers.0.self_attn.q_proj": its matrix is the tensor <module>.weight
  Weight a;            // [r, in]
  Weight b;            // [out, r]
};

/// A tensor of a module that is saved whole, named and laid out as in the Hugging Face checkpoint.
struct WholeTensor {
  std::string name;
  Weight view;
};

/// An adapter as views: what the reader finds and what `write_peft_adapter` (models/lora_writer.h) writes.
struct LoraAdapter {
  LoraConfig config;
  std::vector<LoraLayer> layers;
  std::vector<WholeTensor> whole;
};

/// Reads adapter_config.json. Throws Error not_found, bad_file (wrong types, r < 1), and unsupported for adapters that
/// are more than W + scale * B A: DoRA, biases, ranks that differ by layer, initialisations that change the base.
LoraConfig read_lora_config(const std::filesystem::path& file);

/// An adapter read from its folder, for one model.
class Lora {
 public:
  /// Reads and checks the folder by itself: every A has its B, ranks agree, values are finite. `strength` multiplies
  /// the scale. Files that may be written anew while the adapter is used have to be read, not mapped. Throws Error
  /// not_found, bad_file, unsupported, invalid_request.
  static std::unique_ptr<Lora> open(const std::filesystem::path& folder, float strength = 1.0f,
                                    FileAccess access = FileAccess::kMap);

  const LoraAdapter& adapter() const { return adapter_; }
  const std::string& path() const { return path_; }
  /// alpha / r times the strength.
  float scale() const { return scale_; }
  /// Stored size of all matrices and whole tensors.
  int64_t bytes() const;

  /// Checks every tensor against the tables and prepares look-up. Throws Error bad_file naming the first tensor that
  /// the model lacks or that has another shape, unsupported for one that cannot be adapted.
  void bind(const ModelConfig& config);

  /// After bind(), by the tensor's name in the Hugging Face checkpoint; null if the adapter leaves it alone. Valid as
  /// long as this object lives.
  const LowRank* low_rank(std::string_view tensor) const;
  const StoredTensor* whole(std::string_view tensor) const;

 private:
  Lora() = default;
  void read_tensors();
  void bind_layer(const LoraLayer& layer, const PartSpec* part, const ModelConfig& config);
  void bind_whole(const WholeTensor& tensor, const PartSpec* part, const ModelConfig& config);
  [[noreturn]] void fail_absent(std::string_view what, const ModelConfig& config) const;
  [[noreturn]] void fail_shape(std::string_view what, const Weight& found, std::span<const int64_t> expected,
                               const ModelConfig& config) const;

  std::string path_;
  float scale_ = 1.0f;
  LoraAdapter adapter_;
  std::unique_ptr<WeightSource> source_;
  std::map<std::string, LowRank, std::less<>> low_rank_;
  std::map<std::string, StoredTensor, std::less<>> whole_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;  // of matrices whose rows GGUF files keep in another order
};

}  // namespace minicpm
