#include "models/lora_writer.h"

#include <cmath>

#include "base/file_map.h"
#include "base/json.h"
#include "io/safetensors.h"

namespace minicpm {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";

/// The shortest decimal that reads back as this float: 64, 0.05.
Json number(float value) {
  if (value == std::floor(value) && std::abs(value) < 1e9f) return static_cast<int64_t>(value);
  return std::stod(fmt::format("{}", value));
}

Json config_json(const LoraConfig& config) {
  return {{"alpha_pattern", Json::object()},
          {"auto_mapping", nullptr},
          {"base_model_name_or_path", config.base_model},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"init_lora_weights", true},
          {"layers_pattern", nullptr},
          {"layers_to_transform", nullptr},
          {"lora_alpha", number(config.alpha)},
          {"lora_dropout", number(config.dropout)},
          {"modules_to_save", config.modules_to_save.empty() ? Json() : Json(config.modules_to_save)},
          {"peft_type", "LORA"},
          {"r", config.r},
          {"rank_pattern", Json::object()},
          {"revision", nullptr},
          {"target_modules", config.target_regex},
          {"task_type", config.task_type.empty() ? Json() : Json(config.task_type)},
          {"use_dora", false},
          {"use_rslora", config.rslora}};
}

void check_layer(const LoraLayer& layer, int64_t r) {
  if (layer.a.rank == 2 && layer.b.rank == 2 && layer.a.dims[0] == r && layer.b.dims[1] == r) return;
  fail(ErrorCode::kInvalidRequest, "adapter of {}: A has shape {} and B {}, expected [{}, in] and [out, {}]",
       layer.module, shape_string(layer.a.shape()), shape_string(layer.b.shape()), r, r);
}

}  // namespace

void write_peft_adapter(const std::filesystem::path& folder, const LoraAdapter& adapter) {
  std::vector<TensorToWrite> tensors;
  for (const LoraLayer& layer : adapter.layers) {
    check_layer(layer, adapter.config.r);
    tensors.push_back(tensor_to_write(fmt::format("{}{}.lora_A.weight", kPrefix, layer.module), layer.a));
    tensors.push_back(tensor_to_write(fmt::format("{}{}.lora_B.weight", kPrefix, layer.module), layer.b));
  }
  for (const WholeTensor& tensor : adapter.whole)
    tensors.push_back(tensor_to_write(fmt::format("{}{}", kPrefix, tensor.name), tensor.view));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(ErrorCode::kIo, "{}: the folder cannot be made: {}", folder.string(), error.message());
  write_safetensors(folder / kLoraWeightsFile, std::move(tensors));
  write_file_atomically(folder / kLoraConfigFile, config_json(adapter.config).dump(2) + "\n");
}

}  // namespace minicpm
