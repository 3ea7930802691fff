// The settings of sampling that a version's publishers recommend.
#pragma once

#include "engine/sampler.h"
#include "models/versions.h"

namespace minicpm {

/// `sample` false gives the version's beam search (3 beams).
SamplingParams default_sampling(const VersionRow& version, bool thinking, bool sample);

}  // namespace minicpm
