#include "backend/cpu/linear.h"

#include <vector>

#include "quant/format.h"

namespace minicpm::cpu {
namespace {

constexpr LinearKernels kScalar{"scalar"};

}  // namespace

const LinearKernels& linear_kernels(std::string_view) {
  return kScalar;
}

struct Linear::Scratch {
  std::vector<std::vector<float>> rows;  // one dequantised weight row per worker
};

Linear::Linear(ThreadPool& pool, const LinearKernels& kernels)
    : pool_(pool), kernels_(kernels), scratch_(std::make_unique<Scratch>()) {
  scratch_->rows.resize(static_cast<size_t>(pool.num_threads()));
}
Linear::~Linear() = default;

void Linear::run(std::span<const LinearTarget> targets, Tensor x, Precision) {
  const int64_t k = x.cols();
  for (const LinearTarget& target : targets) {
    pool_.run(target.w.rows(), [&](int64_t n, int worker) {
      std::vector<float>& w = scratch_->rows[static_cast<size_t>(worker)];
      w.resize(static_cast<size_t>(k));
      dequantize_row(target.w.dtype, target.w.row(n), w.data(), k);
      for (int64_t r = 0; r < x.dim(0); ++r) {
        const float* xr = x.f32_row(r);
        double sum = target.bias.defined() ? target.bias.f32()[n] : 0.0;
        for (int64_t i = 0; i < k; ++i)
          sum += static_cast<double>(xr[i]) * static_cast<double>(w[static_cast<size_t>(i)]);
        target.out.f32_row(r)[n] = static_cast<float>(sum);
      }
    });
  }
}

}  // namespace minicpm::cpu
