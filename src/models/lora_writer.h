// Writes adapters as PEFT does, so that every program that reads those reads these.
#pragma once

#include <filesystem>

#include "models/lora.h"

namespace minicpm {

/// adapter_model.safetensors and then adapter_config.json into `folder`, which is created if need be; each file appears
/// when it is complete. Types are kept (f32, f16, bf16). Throws Error io, and invalid_request for shapes that do not
/// fit the rank.
void write_peft_adapter(const std::filesystem::path& folder, const LoraAdapter& adapter);

}  // namespace minicpm
