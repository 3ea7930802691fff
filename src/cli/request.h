// From the command line's options to what the engine takes.
#pragma once

#include <cstdint>

#include "cli/options.h"
#include "engine/chat.h"

namespace minicpm::cli {

ModelSpec model_spec(const Options& options);
EngineOptions engine_options(const Options& options);

/// The version's defaults with the user's values in their place.
SamplingParams sampling_params(const Options& options, const Engine& engine, bool thinking, uint64_t seed);
/// Refuses values out of range before the model is loaded. Throws Error invalid_request.
void check_sampling(const Options& options);

/// The seed the user gave, else one from the system.
uint64_t choose_seed(const Options& options);

}  // namespace minicpm::cli
