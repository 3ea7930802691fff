// The CPU kernels of one instruction set as a table of functions. Every kernel is single-threaded, works on f32 unless
// its name says otherwise, and is written once in elementwise.inl or attention.inl; isa_<name>.cc compiles that text
// for one instruction set. Included by ISA files: plain types only, no std containers and no inline functions.
#pragma once

#include <stdint.h>

namespace minicpm::cpu {

/// One step of online softmax: a panel of queries meets a block of keys. The lanes of a vector are different queries,
/// so nothing is added up across lanes, a query's result does not depend on its place in the panel, and head_dim may
/// be any number. Scores are in units of log2(e), which turns e^x into 2^x.
struct AttentionStep {
  const float* q;        // [head_dim][lanes], multiplied by scale * log2(e)
  const float* k;        // [keys][stride]
  const float* v;        // [keys][stride]
  const float* visible;  // [lanes] how many of these keys the query may see (whole numbers); null: all of them
  int64_t keys;
  int64_t head_dim;
  int64_t stride;  // head_dim rounded up to KernelTable::tile_rows; the rows of k are rounded up as well
  int vectors;     // lanes / KernelTable::lanes: 1 or KernelTable::tile_vectors
  float* scores;   // [keys, rounded up][lanes] scratch
  float* highest;  // [lanes] largest score so far; start with kLowestScore
  float* total;    // [lanes] sum of 2^(score - highest) so far; start with 0
  float* out;      // [stride][lanes] sum of 2^(score - highest) v so far; start with 0
};

/// Below every real score and yet finite, so that differences of two such values are numbers.
constexpr float kLowestScore = -1e30f;

/// A KV cache in one number format: n values are any number of rows of head_dim one after another.
struct CacheKernels {
  void (*write)(void* out, const float* in, int64_t n);
  void (*read)(float* out, const void* in, int64_t n);

  // Parts of the attention of few queries. q, out: [queries][head_dim]; k, v: [keys][head_dim] in the cache's format;
  // scores, weights: [queries][stride]. `next`: keys or values that will be read afterwards, as many bytes as these
  // take, or null; they are prefetched, since the runs of a cache are too short for the processor to see them coming.
  void (*scores)(float* scores, int64_t stride, const float* q, int64_t queries, const void* k, int64_t keys,
                 int64_t head_dim, const void* next);
  /// out += weights v.
  void (*add_values)(float* out, const float* weights, int64_t stride, int64_t queries, const void* v, int64_t keys,
                     int64_t head_dim, const void* next);
};

struct KernelTable {
  int lanes;         // f32 values in one vector register
  int tile_rows;     // register tile of attention: keys or value columns ...
  int tile_vectors;  // ... times vectors of queries

  // Rows of n values, one after another. out may be x.
  void (*rms_norm)(float* out, const float* x, const float* w, int64_t rows, int64_t n, float eps);
  void (*layer_norm)(float* out, const float* x, const float* w, const float* b, int64_t rows, int64_t n, float eps);

  // Element by element.
  void (*add)(float* x, const float* y, int64_t n);
  void (*add_scaled)(float* x, const float* y, float factor, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);
  void (*gelu_tanh)(float* x, int64_t n);
  void (*gelu_erf)(float* x, int64_t n);
  void (*silu_mul)(float* out, const float* gate, const float* up, int64_t n);

  // One head: pairs (i, i + half) or (2i, 2i + 1) turned by the angles of cos, sin [half].
  void (*rope_halves)(float* x, const float* cos, const float* sin, int64_t half);
  void (*rope_neighbours)(float* x, const float* cos, const float* sin, int64_t half);

  // Attention of many queries.
  void (*attend)(const AttentionStep& step);
  /// The same with products in bf16, for even head_dim; null where the instruction set has none. q, k and v are first
  /// brought into words of two bf16, in place: keys and values of a block (k, v: [keys][stride]), and the queries of a
  /// panel ([head_dim][lanes]).
  void (*halve_keys)(float* k, float* v, int64_t keys, int64_t stride) = nullptr;
  void (*halve_queries)(float* q, int64_t head_dim, int64_t lanes) = nullptr;
  void (*attend_half)(const AttentionStep& step) = nullptr;
  /// lanes[i * stride + j] = factor * rows[j][i] for i < n and the `lanes` lanes j of one vector; and back, with a
  /// factor per lane.
  void (*rows_to_lanes)(float* lanes, int64_t stride, const float* const* rows, int64_t n, float factor);
  void (*lanes_to_rows)(float* const* rows, const float* lanes, int64_t stride, int64_t n, const float* factors);

  // Attention of few queries.
  /// scores[i] = 2^(scores[i] - highest) for n scores; returns their sum and the highest.
  void (*exp2_row)(float* scores, int64_t n, float* highest, float* total);
  CacheKernels cache_f32, cache_f16, cache_bf16, cache_q8_0;
};

// The tables that may be compiled in; select.cc knows which are.
namespace scalar {
extern const KernelTable kKernels;
}
namespace avx2 {
extern const KernelTable kKernels;
}
namespace avx512 {
extern const KernelTable kKernels;
}
namespace avx512_bf16 {
extern const KernelTable kKernels;
}
namespace neon {
extern const KernelTable kKernels;
}

}  // namespace minicpm::cpu
