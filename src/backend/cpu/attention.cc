#include "backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace minicpm::cpu {
namespace {

/// softmax(scores) in place; then out = sum of scores[j] * value(j).
template <typename ValueRow>
void weighted_sum(std::vector<float>& scores, float* out, int64_t d, ValueRow&& value) {
  const float highest = *std::max_element(scores.begin(), scores.end());
  double total = 0.0;
  for (float& s : scores) {
    s = std::exp(s - highest);
    total += s;
  }
  std::fill_n(out, d, 0.0f);
  for (size_t j = 0; j < scores.size(); ++j) {
    const float weight = static_cast<float>(scores[j] / total);
    const float* v = value(static_cast<int64_t>(j));
    for (int64_t i = 0; i < d; ++i)
      out[i] += weight * v[i];
  }
}

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

}  // namespace

void Attention::paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale) {
  const int64_t heads = q.dims[1], d = q.dims[2];
  const int64_t group = heads / kv.kv_heads;
  std::vector<int64_t> sequence_of(static_cast<size_t>(batch.rows()));
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    for (int64_t r = batch.row_starts[s]; r < batch.row_starts[s + 1]; ++r)
      sequence_of[r] = s;
  }
  pool_.run(batch.rows() * heads, [&](int64_t task, int) {
    const int64_t row = task / heads, head = task % heads, kv_head = head / group;
    const int32_t* blocks = batch.block_table.data() + batch.block_starts[sequence_of[row]];
    std::vector<float> buffer(static_cast<size_t>(d));
    const auto cached = [&](const void* base, int64_t j) -> const float* {
      const int64_t block = blocks[j / kv.block_tokens];
      const int64_t index = ((block * kv.kv_heads + kv_head) * kv.block_tokens + j % kv.block_tokens) * d;
      if (kv.dtype == DType::kF32) return static_cast<const float*>(base) + index;
      kernels_.f16_to_f32(buffer.data(), static_cast<const uint16_t*>(base) + index, d);
      return buffer.data();
    };
    const float* query = q.f32() + row * q.strides[0] + head * q.strides[1];
    std::vector<float> scores(static_cast<size_t>(batch.positions[row]) + 1);
    for (size_t j = 0; j < scores.size(); ++j)
      scores[j] = scale * dot(query, cached(kv.k, static_cast<int64_t>(j)), d);
    weighted_sum(scores, out.f32() + row * out.strides[0] + head * out.strides[1], d,
                 [&](int64_t j) { return cached(kv.v, j); });
  });
}

void Attention::varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                       std::span<const int64_t> k_starts, float scale) {
  const int64_t heads = q.dims[1], d = q.dims[2];
  for (size_t g = 0; g + 1 < q_starts.size(); ++g) {
    const int64_t first_key = k_starts[g], keys = k_starts[g + 1] - first_key;
    if (keys == 0) continue;
    pool_.run((q_starts[g + 1] - q_starts[g]) * heads, [&](int64_t task, int) {
      const int64_t row = q_starts[g] + task / heads, head = task % heads;
      const float* query = q.f32() + row * q.strides[0] + head * q.strides[1];
      std::vector<float> scores(static_cast<size_t>(keys));
      for (int64_t j = 0; j < keys; ++j)
        scores[j] = scale * dot(query, k.f32() + (first_key + j) * k.strides[0] + head * k.strides[1], d);
      weighted_sum(scores, out.f32() + row * out.strides[0] + head * out.strides[1], d,
                   [&](int64_t j) { return v.f32() + (first_key + j) * v.strides[0] + head * v.strides[1]; });
    });
  }
}

}  // namespace minicpm::cpu
