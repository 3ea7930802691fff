#include "engine/default_sampling.h"

namespace minicpm {

SamplingParams default_sampling(const VersionRow& version, bool thinking, bool sample) {
  const SamplingDefaults& defaults = thinking ? version.thinking_sampling : version.sampling;
  SamplingParams params;
  params.max_tokens = version.max_new_tokens;
  params.do_sample = sample;
  if (sample) {
    params.temperature = defaults.temperature;
    params.top_k = defaults.top_k;
    params.top_p = defaults.top_p;
    params.repetition_penalty = defaults.repetition_penalty;
  } else {
    params.num_beams = 3;
    params.repetition_penalty = version.beam_repetition_penalty;
  }
  return params;
}

}  // namespace minicpm
