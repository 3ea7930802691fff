// KissFFT's plans of real transforms. Internal to media/.
#pragma once

#include <kissfft/kiss_fftr.h>

#include <cstdint>
#include <memory>

#include "base/error.h"

namespace minicpm {

struct FreeFourierPlan {
  void operator()(kiss_fftr_state* plan) const { kiss_fftr_free(plan); }
};
/// Holds scratch memory, so each caller needs its own.
using FourierPlan = std::unique_ptr<kiss_fftr_state, FreeFourierPlan>;

/// For `size` samples, an even number; `inverse` goes from size / 2 + 1 bins to samples times `size`. Throws Error
/// out_of_memory.
inline FourierPlan make_fourier_plan(int64_t size, bool inverse) {
  FourierPlan plan(kiss_fftr_alloc(static_cast<int>(size), inverse ? 1 : 0, nullptr, nullptr));
  if (plan == nullptr) fail(ErrorCode::kOutOfMemory, "no memory for a Fourier transform of {} samples", size);
  return plan;
}

}  // namespace minicpm
