// Element-wise kernels and row norms, written once over the wrapper of a vec_<isa>.h. Included by isa_<isa>.cc inside
// namespace minicpm::cpu::<isa>.

/// body(offset, Whole or First) over n values.
template <typename Body>
MINICPM_INLINE void for_lanes(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    body(i, Whole{});
  if (i < n) body(i, First{static_cast<int>(n - i)});
}

// ---- exponential ---------------------------------------------------------------------------------------------------

/// e^x within 1.1 ulp for x in [-87.3, 88.3]; 0 below, infinity above.
MINICPM_INLINE Vec exp(Vec x) {
  const Vec floor = set1(-87.33f);
  const Vec clamped = max(floor, min(set1(89.0f), x));
  // x = n ln 2 + r. ln 2 in two parts, the first with few enough bits for an exact product.
  const Vec n = round(clamped * set1(1.44269504f));
  const Vec r = fnma(n, set1(-2.12194440e-4f), fnma(n, set1(0.693359375f), clamped));
  // e^r = 1 + r + r^2 P(r), |r| <= ln(2)/2; P by minimax, relative error 3e-9.
  Vec p = set1(1.381377667e-3f);
  p = fma(p, r, set1(8.368766928e-3f));
  p = fma(p, r, set1(4.166840224e-2f));
  p = fma(p, r, set1(1.666652022e-1f));
  p = fma(p, r, set1(4.99999934e-1f));
  const Vec y = fma(p * r, r, r) + set1(1.0f);
  return select(x < floor, zero(), scale_by_power(y, n));
}

/// 2^x within 1.1 ulp for x in [-126, 127]; 0 below -126. Requires x <= 127.
MINICPM_INLINE Vec exp2(Vec x) {
  const Vec floor = set1(-126.0f);
  const Vec clamped = max(floor, x);
  const Vec n = round(clamped);
  const Vec r = clamped - n;
  // 2^r = 1 + r P(r), |r| <= 1/2; P by minimax, relative error 3e-9.
  Vec p = set1(1.559491849e-4f);
  p = fma(p, r, set1(1.340673575e-3f));
  p = fma(p, r, set1(9.617691876e-3f));
  p = fma(p, r, set1(5.550310298e-2f));
  p = fma(p, r, set1(2.402265279e-1f));
  p = fma(p, r, set1(6.931472151e-1f));
  const Vec y = fma(p, r, set1(1.0f));
  return select(x < floor, zero(), scale_by_power(y, n));
}

// ---- activations ---------------------------------------------------------------------------------------------------

MINICPM_INLINE Vec silu(Vec x) {
  return x / (set1(1.0f) + exp(zero() - x));
}

/// 0.5 x (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3).
MINICPM_INLINE Vec gelu_tanh(Vec x) {
  const Vec minus_two_u = x * fma(x * x, set1(-0.0713548163f), set1(-1.59576912f));
  return x / (set1(1.0f) + exp(minus_two_u));
}

/// x Phi(x) with the normal distribution function Phi(-a) = exp(-a^2/2) R(a), a = |x|. R in t = (a - 3)/(a + 3) by
/// minimax on [0, 13.4], relative error 7e-9; beyond, exp(-a^2/2) is below the smallest normal number.
MINICPM_INLINE Vec gelu_erf(Vec x) {
  const Vec a = abs(x);
  const Vec t = (a - set1(3.0f)) / (a + set1(3.0f));
  Vec p = set1(5.415086137e-5f);
  p = fma(p, t, set1(1.160374373e-4f));
  p = fma(p, t, set1(-3.399113521e-4f));
  p = fma(p, t, set1(-9.841827688e-4f));
  p = fma(p, t, set1(2.904702638e-3f));
  p = fma(p, t, set1(6.132183066e-3f));
  p = fma(p, t, set1(-4.621331381e-2f));
  p = fma(p, t, set1(1.232250217e-1f));
  p = fma(p, t, set1(-2.064026179e-1f));
  p = fma(p, t, set1(1.215139477e-1f));
  const Vec tail = a * exp(a * a * set1(-0.5f)) * p;  // a Phi(-a)
  return max(zero(), x) - tail;
}

static void gelu_tanh_inplace(float* x, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) { store(x + i, gelu_tanh(load(x + i, part)), part); });
}

static void gelu_erf_inplace(float* x, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) { store(x + i, gelu_erf(load(x + i, part)), part); });
}

static void silu_mul(float* out, const float* gate, const float* up, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) { store(out + i, silu(load(gate + i, part)) * load(up + i, part), part); });
}

// ---- sums ----------------------------------------------------------------------------------------------------------

static void add(float* x, const float* y, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) { store(x + i, load(x + i, part) + load(y + i, part), part); });
}

static void add_scaled(float* x, const float* y, float factor, int64_t n) {
  const Vec f = set1(factor);
  for_lanes(n, [=](int64_t i, auto part) { store(x + i, fma(f, load(y + i, part), load(x + i, part)), part); });
}

static void scale(float* x, float factor, int64_t n) {
  const Vec f = set1(factor);
  for_lanes(n, [=](int64_t i, auto part) { store(x + i, f * load(x + i, part), part); });
}

// ---- norms ---------------------------------------------------------------------------------------------------------

/// Sum of (x - shift)^2 or of x. Partial sums of at most 64 vectors are added up, so the rounding error does not grow
/// with the row's length as that of one running sum would.
template <bool kSquares>
static float row_sum(const float* x, int64_t n, float shift) {
  constexpr int64_t kBlock = 64 * kLanes;
  const Vec s = set1(shift);
  Vec total = zero();
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    Vec a = zero(), b = zero(), c = zero(), d = zero();
    int64_t i = begin;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
      const Vec x0 = load(x + i) - s, x1 = load(x + i + kLanes) - s;
      const Vec x2 = load(x + i + 2 * kLanes) - s, x3 = load(x + i + 3 * kLanes) - s;
      a = kSquares ? fma(x0, x0, a) : a + x0;
      b = kSquares ? fma(x1, x1, b) : b + x1;
      c = kSquares ? fma(x2, x2, c) : c + x2;
      d = kSquares ? fma(x3, x3, d) : d + x3;
    }
    for (; i + kLanes <= end; i += kLanes) {
      const Vec x0 = load(x + i) - s;
      a = kSquares ? fma(x0, x0, a) : a + x0;
    }
    total = total + ((a + b) + (c + d));
    if (i < end) {
      float rest = 0.0f;
      for (; i < end; ++i)
        rest += kSquares ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
      return sum(total) + rest;  // only the last block has a rest
    }
  }
  return sum(total);
}

static void rms_norm(float* out, const float* x, const float* w, int64_t rows, int64_t n, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
    const float mean_square = row_sum<true>(x, n, 0.0f) / static_cast<float>(n);
    const Vec factor = set1(1.0f / __builtin_sqrtf(mean_square + eps));
    for_lanes(n, [=](int64_t i, auto part) { store(out + i, load(x + i, part) * factor * load(w + i, part), part); });
  }
}

static void layer_norm(float* out, const float* x, const float* w, const float* b, int64_t rows, int64_t n, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
    // The rounded mean leaves a remainder, which counts when the spread is far smaller than the mean.
    const float mean = row_sum<false>(x, n, 0.0f) / static_cast<float>(n);
    const float remainder = row_sum<false>(x, n, mean) / static_cast<float>(n);
    const float variance = row_sum<true>(x, n, mean) / static_cast<float>(n) - remainder * remainder;
    const Vec factor = set1(1.0f / __builtin_sqrtf((variance < 0.0f ? 0.0f : variance) + eps));
    const Vec centre = set1(mean), rest = set1(remainder);
    for_lanes(n, [=](int64_t i, auto part) {
      const Vec normal = (load(x + i, part) - centre - rest) * factor;
      store(out + i, fma(normal, load(w + i, part), load(b + i, part)), part);
    });
  }
}

// ---- rotary positions ----------------------------------------------------------------------------------------------

static void rope_halves(float* x, const float* cos, const float* sin, int64_t half) {
  float* y = x + half;
  for_lanes(half, [=](int64_t i, auto part) {
    const Vec a = load(x + i, part), b = load(y + i, part), c = load(cos + i, part), s = load(sin + i, part);
    store(x + i, fnma(b, s, a * c), part);
    store(y + i, fma(a, s, b * c), part);
  });
}

static void rope_neighbours(float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}
