#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "quant/format.h"

namespace minicpm::cpu {
namespace {

// Waking the pool costs a few microseconds: as long as one thread needs for this much data in cache.
constexpr int64_t kPartBytes = 32 << 10;

}  // namespace

CpuBackend::CpuBackend(const Isa& isa, int num_threads, bool deterministic)
    : isa_(isa),
      kernels_(*isa.kernels),
      pool_(num_threads),
      linear_(pool_, linear_kernels(isa.name), deterministic),
      attention_(pool_, kernels_, deterministic) {}

std::string CpuBackend::description() const {
  const int threads = num_threads();
  return fmt::format("cpu ({}, {} thread{})", isa_.name, threads, threads == 1 ? "" : "s");
}

template <typename Fn>
void CpuBackend::split(int64_t count, int64_t item_bytes, Fn&& fn) {
  if (count <= 0) return;
  const int64_t per_part = std::max<int64_t>(1, kPartBytes / std::max<int64_t>(1, item_bytes));
  const int64_t parts = (count + per_part - 1) / per_part;
  pool_.run(parts, [&](int64_t part, int) { fn(part * per_part, std::min(count, (part + 1) * per_part)); });
}

void CpuBackend::embedding(Tensor out, const Weight& table, std::span<const int32_t> ids) {
  const int64_t d = table.cols();
  split(static_cast<int64_t>(ids.size()), d * 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      dequantize_row(table.dtype, table.row(ids[i]), out.f32_row(i), d);
  });
}

void CpuBackend::linear(std::span<const LinearTarget> targets, Tensor x, Precision precision) {
  linear_.run(targets, x, precision);
}

void CpuBackend::rms_norm(Tensor out, Tensor x, Tensor w, float eps) {
  const int64_t n = x.cols();
  split(x.rows(), n * 8, [&](int64_t begin, int64_t end) {
    kernels_.rms_norm(out.f32() + begin * n, x.f32() + begin * n, w.f32(), end - begin, n, eps);
  });
}

void CpuBackend::layer_norm(Tensor out, Tensor x, Tensor w, Tensor b, float eps) {
  const int64_t n = x.cols();
  split(x.rows(), n * 8, [&](int64_t begin, int64_t end) {
    kernels_.layer_norm(out.f32() + begin * n, x.f32() + begin * n, w.f32(), b.f32(), end - begin, n, eps);
  });
}

void CpuBackend::add(Tensor x, Tensor y) {
  split(x.numel(), 8, [&](int64_t begin, int64_t end) { kernels_.add(x.f32() + begin, y.f32() + begin, end - begin); });
}

void CpuBackend::add_scaled(Tensor x, Tensor y, float factor) {
  split(x.numel(), 8, [&](int64_t begin, int64_t end) {
    kernels_.add_scaled(x.f32() + begin, y.f32() + begin, factor, end - begin);
  });
}

void CpuBackend::scale(Tensor x, float factor) {
  split(x.numel(), 4, [&](int64_t begin, int64_t end) { kernels_.scale(x.f32() + begin, factor, end - begin); });
}

void CpuBackend::add_row(Tensor x, Tensor row) {
  const int64_t n = x.cols();
  split(x.rows(), n * 4, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      kernels_.add(x.f32() + r * n, row.f32(), n);
  });
}

void CpuBackend::gelu(Tensor x, Gelu kind) {
  const auto kernel = kind == Gelu::kTanh ? kernels_.gelu_tanh : kernels_.gelu_erf;
  split(x.numel(), 4, [&](int64_t begin, int64_t end) { kernel(x.f32() + begin, end - begin); });
}

void CpuBackend::relu(Tensor x) {
  split(x.numel(), 4, [&](int64_t begin, int64_t end) {
    for (float* value = x.f32() + begin; value != x.f32() + end; ++value)
      *value = *value < 0.0f ? 0.0f : *value;  // NaN stays
  });
}

void CpuBackend::silu_mul(Tensor out, Tensor gate, Tensor up) {
  split(out.numel(), 12, [&](int64_t begin, int64_t end) {
    kernels_.silu_mul(out.f32() + begin, gate.f32() + begin, up.f32() + begin, end - begin);
  });
}

void CpuBackend::rope(Tensor x, Tensor cos, Tensor sin, RopeStyle style) {
  const int64_t heads = x.dims[1], half = cos.cols();
  const auto kernel = style == RopeStyle::kHalves ? kernels_.rope_halves : kernels_.rope_neighbours;
  split(x.dims[0], heads * half * 8, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t h = 0; h < heads; ++h)
        kernel(x.f32() + r * x.strides[0] + h * x.strides[1], cos.f32_row(r), sin.f32_row(r), half);
    }
  });
}

void CpuBackend::kv_write(const KvLayer& kv, Tensor k, Tensor v, const Batch& batch) {
  const int64_t d = kv.head_dim;
  const CacheKernels& cache = cache_kernels(kernels_, kv.dtype);
  const auto write_row = [&](int64_t sequence, int64_t row) {
    const int64_t position = batch.positions[row];
    const int64_t block = batch.block_table[batch.block_starts[sequence] + position / kv.block_tokens];
    for (int64_t h = 0; h < kv.kv_heads; ++h) {
      const int64_t token = (block * kv.kv_heads + h) * kv.block_tokens + position % kv.block_tokens;
      const int64_t at = row_bytes(kv.dtype, token * d);
      const float* key = k.f32() + row * k.strides[0] + h * k.strides[1];
      const float* value = v.f32() + row * v.strides[0] + h * v.strides[1];
      cache.write(static_cast<std::byte*>(kv.k) + at, key, d);
      cache.write(static_cast<std::byte*>(kv.v) + at, value, d);
    }
  };
  split(batch.rows(), kv.kv_heads * d * 12, [&](int64_t begin, int64_t end) {
    const auto& starts = batch.row_starts;
    int64_t sequence = std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1;
    for (int64_t row = begin; row < end; ++row) {
      while (row >= starts[sequence + 1])
        ++sequence;
      write_row(sequence, row);
    }
  });
}

void CpuBackend::attention_paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale,
                                 Precision precision) {
  attention_.paged(out, q, kv, batch, scale, precision);
}

void CpuBackend::attention_varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                                  std::span<const int64_t> k_starts, float scale, Precision precision) {
  attention_.varlen(out, q, k, v, q_starts, k_starts, scale, precision);
}

void CpuBackend::scatter_rows(Tensor dst, std::span<const int64_t> dst_rows, Tensor src) {
  const auto bytes = static_cast<size_t>(row_bytes(src.dtype, src.cols()));
  split(static_cast<int64_t>(dst_rows.size()), static_cast<int64_t>(2 * bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(dst.slice(dst_rows[i], dst_rows[i] + 1).data, src.slice(i, i + 1).data, bytes);
  });
}

void CpuBackend::gather_rows(Tensor dst, Tensor src, std::span<const int64_t> src_rows) {
  const auto bytes = static_cast<size_t>(row_bytes(src.dtype, src.cols()));
  split(static_cast<int64_t>(src_rows.size()), static_cast<int64_t>(2 * bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(dst.slice(i, i + 1).data, src.slice(src_rows[i], src_rows[i] + 1).data, bytes);
  });
}

}  // namespace minicpm::cpu
