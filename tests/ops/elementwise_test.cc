// Element-wise ops, norms, rotation, row copies, embedding and the key-value cache.
#include <algorithm>
#include <functional>
#include <numeric>

#include "base/half.h"
#include "conformance.h"
#include "quant/format.h"

namespace minicpm {
namespace {

using Elementwise = Conformance;
MINICPM_FOR_EACH_ISA(Elementwise);

// Around vector widths (1, 4, 8, 16 lanes) and their multiples; the last ones are split over threads.
constexpr int64_t kCounts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1023, 10000, 50001};

// One rounding per operation: half a unit in the last place is 6e-8.
constexpr double kOneRounding = 1e-7;

/// in-place op(backend, x) against f(x) for each count.
void expect_map(Elementwise&, const std::function<std::vector<float>(const std::vector<float>&)>& op, double limit,
                float spread, const std::function<double(double)>& f) {
  Random random;
  for (const int64_t n : kCounts) {
    std::vector<float> x = random.values(n, spread);
    if (n > 0) x[0] = 1.0f;  // errors are judged relative to this at least, not to the tail of the function
    std::vector<double> expected(x.begin(), x.end());
    std::transform(expected.begin(), expected.end(), expected.begin(), f);
    EXPECT_LE(relative_error(op(x), expected), limit) << n << " values, seed " << kSeed;
  }
}

TEST_P(Elementwise, Gelu) {
  for (const float spread : {0.5f, 2.0f, 6.0f}) {
    const auto tanh_op = [&](const std::vector<float>& x) {
      return run(x, [&](Backend& b, float* data) {
        b.gelu(Tensor(data, DType::kF32, {static_cast<int64_t>(x.size())}), Gelu::kTanh);
      });
    };
    expect_map(*this, tanh_op, 3e-7, spread, [](double x) {
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    });
    const auto erf_op = [&](const std::vector<float>& x) {
      return run(x, [&](Backend& b, float* data) {
        b.gelu(Tensor(data, DType::kF32, {static_cast<int64_t>(x.size())}), Gelu::kErf);
      });
    };
    expect_map(*this, erf_op, 3e-7, spread, [](double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); });
  }
}

TEST_P(Elementwise, GeluAtTheEdges) {
  // Large values must neither overflow nor turn into NaN; each value is judged on its own.
  const std::vector<float> x = {-1e30f, -1000.0f, -88.0f, -20.0f, -13.3f, -9.0f, -5.0f, -1e-6f, -0.0f,
                                0.0f,   1e-30f,   1e-6f,  3.0f,   13.5f,  20.0f, 88.0f, 1e4f,   1e30f};
  for (const Gelu kind : {Gelu::kTanh, Gelu::kErf}) {
    const std::vector<float> y = run(
        x, [&](Backend& b, float* data) { b.gelu(Tensor(data, DType::kF32, {static_cast<int64_t>(x.size())}), kind); });
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      const double u = kind == Gelu::kTanh ? std::tanh(std::sqrt(2.0 / M_PI) * (v + 0.044715 * v * v * v))
                                           : std::erf(v / std::sqrt(2.0));
      // 1 + u cancels for negative v, in the double reference too: hence the absolute term.
      const double expected = 0.5 * v * (1.0 + u);
      EXPECT_NEAR(y[i], expected, 1e-6 * std::abs(expected) + 1e-14) << "x = " << v;
    }
  }
}

TEST_P(Elementwise, SiluMul) {
  Random random;
  for (const int64_t n : kCounts) {
    const std::vector<float> gate = random.values(n, 4.0f), up = random.values(n);
    std::vector<double> expected(gate.size());
    for (size_t i = 0; i < gate.size(); ++i)
      expected[i] = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * up[i];
    const auto op = [&](Backend& b, float* data) {  // the result replaces the gate
      const Tensor g(data, DType::kF32, {n});
      b.silu_mul(g, g, Tensor(const_cast<float*>(up.data()), DType::kF32, {n}));
    };
    EXPECT_LE(relative_error(run(gate, op), expected), 3e-7) << n << " values, seed " << kSeed;
  }
}

TEST_P(Elementwise, SiluMulOfLargeValues) {
  const std::vector<float> gate = {-1e30f, -500.0f, -88.5f, -87.0f, 87.0f, 88.5f, 500.0f, 1e30f};
  const auto n = static_cast<int64_t>(gate.size());
  std::vector<float> up(gate.size(), 1.0f);
  const std::vector<float> y = run(gate, [&](Backend& b, float* data) {
    b.silu_mul(Tensor(data, DType::kF32, {n}), Tensor(data, DType::kF32, {n}), Tensor(up.data(), DType::kF32, {n}));
  });
  for (size_t i = 0; i < gate.size(); ++i) {
    const double expected = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i])));
    EXPECT_NEAR(y[i], expected, 1e-6 * std::abs(expected) + 1e-7) << "gate = " << gate[i];
  }
}

TEST_P(Elementwise, Sums) {
  Random random;
  for (const int64_t n : kCounts) {
    const std::vector<float> x = random.values(n), y = random.values(n);
    const Tensor ty(const_cast<float*>(y.data()), DType::kF32, {n});
    std::vector<double> sum(x.size()), scaled_sum(x.size()), scaled(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      sum[i] = static_cast<double>(x[i]) + y[i];
      scaled_sum[i] = x[i] + static_cast<double>(0.3f) * y[i];
      scaled[i] = static_cast<double>(x[i]) * 1.7f;
    }
    const auto add = [&](Backend& b, float* data) { b.add(Tensor(data, DType::kF32, {n}), ty); };
    const auto add_scaled = [&](Backend& b, float* data) { b.add_scaled(Tensor(data, DType::kF32, {n}), ty, 0.3f); };
    const auto scale = [&](Backend& b, float* data) { b.scale(Tensor(data, DType::kF32, {n}), 1.7f); };
    EXPECT_LE(relative_error(run(x, add), sum), kOneRounding) << n << " values, seed " << kSeed;
    EXPECT_LE(relative_error(run(x, add_scaled), scaled_sum), 2 * kOneRounding) << n << " values, seed " << kSeed;
    EXPECT_LE(relative_error(run(x, scale), scaled), kOneRounding) << n << " values, seed " << kSeed;
  }
}

TEST_P(Elementwise, AddRow) {
  Random random;
  for (const int64_t rows : {0, 1, 3, 700}) {
    for (const int64_t n : {1, 5, 16, 72, 1152}) {
      const std::vector<float> x = random.values(rows * n), row = random.values(n);
      std::vector<double> expected(x.size());
      for (size_t i = 0; i < x.size(); ++i)
        expected[i] = static_cast<double>(x[i]) + row[i % static_cast<size_t>(n)];
      const auto op = [&](Backend& b, float* data) {
        b.add_row(Tensor(data, DType::kF32, {rows, n}), Tensor(const_cast<float*>(row.data()), DType::kF32, {n}));
      };
      EXPECT_LE(relative_error(run(x, op), expected), kOneRounding) << rows << " x " << n << ", seed " << kSeed;
    }
  }
}

TEST_P(Elementwise, RmsNorm) {
  Random random;
  for (const int64_t rows : {0, 1, 2, 65}) {
    for (const int64_t n : {1, 3, 16, 72, 127, 128, 1024, 1100, 4096, 12289}) {
      const std::vector<float> x = random.values(rows * n, 3.0f, 1.0f), w = random.values(n);
      std::vector<double> expected(x.size());
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0.0;
        for (int64_t i = 0; i < n; ++i)
          squares += static_cast<double>(x[r * n + i]) * x[r * n + i];
        for (int64_t i = 0; i < n; ++i)
          expected[r * n + i] = x[r * n + i] / std::sqrt(squares / static_cast<double>(n) + 1e-6) * w[i];
      }
      const auto op = [&](Backend& b, float* data) {
        const Tensor t(data, DType::kF32, {rows, n});
        b.rms_norm(t, t, Tensor(const_cast<float*>(w.data()), DType::kF32, {n}), 1e-6f);
      };
      EXPECT_LE(relative_error(run(x, op), expected), 5e-7) << rows << " x " << n << ", seed " << kSeed;
    }
  }
}

TEST_P(Elementwise, LayerNorm) {
  Random random;
  for (const int64_t rows : {0, 1, 2, 65}) {
    for (const int64_t n : {2, 16, 72, 127, 1024, 1100, 1152, 4099}) {
      // A mean of ten spreads: a variance from the mean of squares would lose its digits here.
      const std::vector<float> x = random.values(rows * n, 0.5f, 5.0f), w = random.values(n), bias = random.values(n);
      std::vector<double> expected(x.size());
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * n;
        const double mean = std::accumulate(row, row + n, 0.0) / static_cast<double>(n);
        double variance = 0.0;
        for (int64_t i = 0; i < n; ++i)
          variance += (row[i] - mean) * (row[i] - mean) / static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i)
          expected[r * n + i] = (row[i] - mean) / std::sqrt(variance + 1e-6) * w[i] + bias[i];
      }
      const auto op = [&](Backend& b, float* data) {
        const Tensor t(data, DType::kF32, {rows, n});
        b.layer_norm(t, t, Tensor(const_cast<float*>(w.data()), DType::kF32, {n}),
                     Tensor(const_cast<float*>(bias.data()), DType::kF32, {n}), 1e-6f);
      };
      EXPECT_LE(relative_error(run(x, op), expected), 1e-6) << rows << " x " << n << ", seed " << kSeed;
    }
  }
}

TEST_P(Elementwise, Rope) {
  Random random;
  const int64_t heads = 3;
  for (const RopeStyle style : {RopeStyle::kHalves, RopeStyle::kNeighbours}) {
    for (const int64_t rows : {0, 1, 70}) {
      for (const auto& [head_dim, rotary] :
           {std::pair<int64_t, int64_t>{64, 64}, {72, 72}, {80, 80}, {128, 128}, {96, 32}, {10, 6}}) {
        const int64_t half = rotary / 2, stride = heads * head_dim + 5;  // rows of a wider product
        const std::vector<float> x = random.values(rows * stride), angle = random.values(rows * half, 10.0f);
        std::vector<float> cos(angle.size()), sin(angle.size());
        for (size_t i = 0; i < angle.size(); ++i) {
          cos[i] = std::cos(angle[i]);
          sin[i] = std::sin(angle[i]);
        }
        std::vector<double> expected(x.begin(), x.end());
        for (int64_t i = 0; i < rows * heads * half; ++i) {
          const int64_t r = i / (heads * half), h = i / half % heads, j = i % half;
          const int64_t base = r * stride + h * head_dim;
          const int64_t first = base + (style == RopeStyle::kHalves ? j : 2 * j);
          const int64_t second = style == RopeStyle::kHalves ? first + half : first + 1;
          const double c = cos[r * half + j], s = sin[r * half + j];
          expected[first] = x[first] * c - x[second] * s;
          expected[second] = x[first] * s + x[second] * c;
        }
        const auto op = [&](Backend& b, float* data) {
          Tensor t(data, DType::kF32, {rows, heads, head_dim});
          t.strides[0] = stride;
          b.rope(t, Tensor(cos.data(), DType::kF32, {rows, half}), Tensor(sin.data(), DType::kF32, {rows, half}),
                 style);
        };
        EXPECT_LE(relative_error(run(x, op), expected), 2 * kOneRounding)
            << rows << " rows, head_dim " << head_dim << ", rotary " << rotary << ", seed " << kSeed;
      }
    }
  }
}

TEST_P(Elementwise, GatherAndScatterRows) {
  Random random;
  for (const int64_t n : {1, 7, 1152}) {
    const std::vector<float> source = random.values(50 * n);
    const Tensor src(const_cast<float*>(source.data()), DType::kF32, {50, n});
    const std::vector<int64_t> order = {49, 0, 7, 7, 13};
    const std::vector<float> gathered = run(std::vector<float>(5 * n), [&](Backend& b, float* data) {
      b.gather_rows(Tensor(data, DType::kF32, {5, n}), src, order);
    });
    for (int64_t i = 0; i < 5 * n; ++i)
      ASSERT_EQ(gathered[i], source[order[i / n] * n + i % n]);

    const std::vector<int64_t> places = {3, 1, 4, 0};
    const std::vector<float> scattered = run(std::vector<float>(6 * n, 9.0f), [&](Backend& b, float* data) {
      b.scatter_rows(Tensor(data, DType::kF32, {6, n}), places, src.slice(0, 4));
    });
    for (int64_t i = 0; i < 4 * n; ++i)
      ASSERT_EQ(scattered[places[i / n] * n + i % n], source[i]);
    EXPECT_EQ(scattered[2 * n], 9.0f);
    EXPECT_EQ(scattered[6 * n - 1], 9.0f);
  }
}

TEST_P(Elementwise, Embedding) {
  Random random;
  const int64_t n = 512;
  const std::vector<float> table = random.values(40 * n);
  const std::vector<int32_t> ids = {39, 0, 5, 5};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_K}) {
    if (format_traits(dtype)->quantize == nullptr) continue;
    std::vector<std::byte> packed(static_cast<size_t>(40 * row_bytes(dtype, n)));
    quantize_row(dtype, table.data(), packed.data(), 40 * n);
    Weight w;
    w.data = packed.data();
    w.dtype = dtype;
    w.rank = 2;
    w.dims[0] = 40;
    w.dims[1] = n;
    const std::vector<float> rows = run(std::vector<float>(4 * n), [&](Backend& b, float* data) {
      b.embedding(Tensor(data, DType::kF32, {4, n}), w, ids);
    });
    std::vector<float> expected(static_cast<size_t>(n));
    for (size_t i = 0; i < ids.size(); ++i) {
      dequantize_row(dtype, w.row(ids[i]), expected.data(), n);
      EXPECT_EQ(0, std::memcmp(expected.data(), rows.data() + i * n, n * sizeof(float))) << name(dtype);
    }
  }
}

TEST_P(Elementwise, KvWriteConvertsAndPlacesEveryRow) {
  Random random;
  for (const int64_t head_dim : {5, 72, 128}) {
    // Two sequences: 3 rows from position 30 on cross a block border; 1 row at position 0.
    const std::vector<int32_t> positions = {30, 31, 32, 0}, blocks = {4, 1, 2};
    const std::vector<int64_t> row_starts = {0, 3, 4}, block_starts = {0, 2, 3}, lengths = {33, 1};
    const Batch batch = {positions, row_starts, lengths, blocks, block_starts, {}};
    const int64_t kv_heads = 2, size = 5 * kv_heads * 32 * head_dim;
    std::vector<float> k = random.values(4 * kv_heads * head_dim, 100.0f), v = random.values(4 * kv_heads * head_dim);
    k[0] = 70000.0f;  // above the largest f16: infinity
    k[1] = 1e-7f;     // subnormal
    const Tensor tk(k.data(), DType::kF32, {4, kv_heads, head_dim}), tv(v.data(), DType::kF32, {4, kv_heads, head_dim});
    std::vector<uint16_t> cache_v;
    const std::vector<uint16_t> cache_k = run(std::vector<uint16_t>(size, 0x1234), [&](Backend& b, uint16_t* data) {
      cache_v.assign(static_cast<size_t>(size), 0x1234);
      b.kv_write({data, cache_v.data(), DType::kF16, 5, kv_heads, 32, head_dim}, tk, tv, batch);
    });
    std::vector<uint16_t> expected_k(size, 0x1234), expected_v(size, 0x1234);
    const int64_t slots[] = {4 * 64 + 30, 4 * 64 + 31, 1 * 64 + 0, 2 * 64 + 0};  // head 0; head 1 lies 32 rows on
    for (int64_t i = 0; i < 4 * kv_heads * head_dim; ++i) {
      const int64_t row = i / (kv_heads * head_dim), head = i / head_dim % kv_heads;
      expected_k[(slots[row] + 32 * head) * head_dim + i % head_dim] = f32_to_f16(k[i]);
      expected_v[(slots[row] + 32 * head) * head_dim + i % head_dim] = f32_to_f16(v[i]);
    }
    EXPECT_EQ(cache_k, expected_k);
    EXPECT_EQ(cache_v, expected_v);
  }
}

}  // namespace
}  // namespace minicpm
