#include "backend/cpu/linear.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>
#include <vector>

namespace minicpm::cpu {
namespace {

// Waking the pool costs a few microseconds, as long as one thread needs for about this many bytes of weights, or to
// convert this many activations.
constexpr int64_t kSmallWorkBytes = 32 << 10;
constexpr int64_t kSmallConversion = 16 << 10;

// Parts of a gemv: small enough that threads finish together, large enough for the hardware's prefetching.
constexpr int64_t kMinPartBytes = 16 << 10;
constexpr int64_t kMaxPartBytes = 256 << 10;
constexpr int kPartsPerThread = 8;

// Rows that the kernels of every tile can take.
constexpr int64_t kLeastRows = 3;

// Parts of a gemm: more columns read the activations less often.
constexpr int64_t kMaxPartPanels = 4;
constexpr int kPanelPartsPerThread = 4;

// Rows that a gemm multiplies with all weights before it goes on to the next ones: their activations stay in the
// third-level cache meanwhile. Fewer would unpack the weights more often.
constexpr int64_t kBlockRows = 1152;

/// Memory that only grows; a cache line as element gives the alignment.
class Buffer {
 public:
  std::byte* reserve(int64_t bytes) {
    const auto lines = static_cast<size_t>((bytes + 63) / 64);
    if (lines > lines_.size()) {
      lines_.clear();
      try {
        lines_.resize(lines);
      } catch (const std::bad_alloc&) {
        fail(ErrorCode::kOutOfMemory, "matrix product: no memory for {} bytes of scratch", bytes);
      }
    }
    return data();
  }
  std::byte* data() { return lines_.empty() ? nullptr : lines_.front().bytes; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> lines_;
};

const LinearFormat& format_of(const LinearKernels& kernels, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kernels.f32;
    case DType::kF16:
      return kernels.f16;
    case DType::kBF16:
      return kernels.bf16;
    case DType::kQ4_0:
      return kernels.q4_0;
    case DType::kQ4_1:
      return kernels.q4_1;
    case DType::kQ5_0:
      return kernels.q5_0;
    case DType::kQ5_1:
      return kernels.q5_1;
    case DType::kQ8_0:
      return kernels.q8_0;
    case DType::kQ2_K:
      return kernels.q2_k;
    case DType::kQ3_K:
      return kernels.q3_k;
    case DType::kQ4_K:
      return kernels.q4_k;
    case DType::kQ5_K:
      return kernels.q5_k;
    case DType::kQ6_K:
      return kernels.q6_k;
    case DType::kIQ4_NL:
      return kernels.iq4_nl;
    case DType::kIQ4_XS:
      return kernels.iq4_xs;
    default:
      fail(ErrorCode::kInternal, "matrix product with weights of type {}", name(dtype));
  }
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// One target, split into parts of `part_cols` columns.
struct Job {
  ProductFn kernel;
  ProductArgs args;  // of the whole target
  int64_t part_cols;
  int64_t first_part;
  int64_t tiles;  // of rows; 0: not in tiles
};

}  // namespace

const LinearKernels& linear_kernels(std::string_view isa) {
#if defined(__x86_64__)
  static const LinearKernels kWithBF16 = [] {
    LinearKernels kernels = avx512::kLinear;
    kernels.inputs[kInputBF16] = avx512_bf16::kInput;
    kernels.bf16.fast_input = kInputBF16;
    kernels.bf16.gemv = avx512_bf16::kGemv;
    kernels.bf16.gemm = avx512_bf16::kGemm;
    kernels.f16.gemm_half = avx512_bf16::kGemmOfF16;
    kernels.f32.gemm_half = avx512_bf16::kGemmOfF32;
    return kernels;
  }();
  if (isa == "avx512_bf16") return kWithBF16;
  if (isa == "avx512") return avx512::kLinear;
  if (isa == "avx_vnni") return avx_vnni::kLinear;
  if (isa == "avx2") return avx2::kLinear;
#elif defined(__aarch64__)
  if (isa == "neon_dot") return neon_dot::kLinear;
  if (isa == "neon") return neon::kLinear;
#endif
  return scalar::kLinear;
}

class Linear::Impl {
 public:
  Impl(ThreadPool& pool, const LinearKernels& kernels, bool deterministic)
      : pool_(pool), kernels_(kernels), deterministic_(deterministic) {
    scratch_.reserve(kernels.scratch_bytes * pool.num_threads());
  }

  void run(std::span<const LinearTarget> targets, const Tensor& x, Precision precision);

 private:
  /// Splits [0, count) among the threads unless the work is too small for that.
  template <typename Fn>
  void split(int64_t count, bool small, Fn&& fn) {
    if (!small) return pool_.run(count, fn);
    for (int64_t i = 0; i < count; ++i)
      fn(i, 0);
  }
  const void* prepare(const Tensor& x, Input input, bool gemv);
  void run_filled_up(std::span<const LinearTarget> targets, const Tensor& x, Precision precision);

  bool is_few(int64_t rows, Input input) const {
    const LinearInput& form = kernels_.inputs[input];
    return form.to_tile == nullptr || (!deterministic_ && rows <= form.gemv_rows);
  }
  int64_t part_cols(const ProductArgs& args, bool gemv, int64_t all_cols, int64_t all_bytes) const;

  ThreadPool& pool_;
  const LinearKernels& kernels_;
  std::array<Buffer, kNumInputs> inputs_;
  Buffer scratch_;    // of every thread
  Buffer filled_up_;  // rows and results of run_filled_up
  bool deterministic_;
  std::vector<Job> jobs_;
};

/// x in the form that a driver wants.
const void* Linear::Impl::prepare(const Tensor& x, Input input, bool gemv) {
  const LinearInput& form = kernels_.inputs[input];
  const int64_t rows = x.dim(0), k = x.dim(1), stride = x.stride(0);
  const bool small = rows * k <= kSmallConversion;
  const float* from = x.f32();
  if (gemv) {
    if (form.to_row == nullptr) return from;
    const int64_t row_bytes = form.row_bytes(k);
    std::byte* to = inputs_[input].reserve(rows * row_bytes);
    split(rows, small, [&](int64_t row, int) { form.to_row(from + row * stride, k, to + row * row_bytes); });
    return to;
  }
  std::byte* to = inputs_[input].reserve(rows * form.tile_row_bytes(k));
  split(divide_up(rows, form.tile_rows), small,
        [&](int64_t tile, int) { form.to_tile(from, stride, k, rows, tile, to); });
  return to;
}

int64_t Linear::Impl::part_cols(const ProductArgs& args, bool gemv, int64_t all_cols, int64_t all_bytes) const {
  const int64_t threads = pool_.num_threads();
  if (gemv) {
    const int64_t bytes = std::clamp(all_bytes / (threads * kPartsPerThread), kMinPartBytes, kMaxPartBytes);
    return std::max<int64_t>(1, bytes / args.w_stride);
  }
  const int64_t panels = divide_up(all_cols, kernels_.panel_cols);
  return kernels_.panel_cols * std::clamp<int64_t>(panels / (threads * kPanelPartsPerThread), 1, kMaxPartPanels);
}

/// The last row is repeated until there are kLeastRows: tiles have no kernels for fewer.
void Linear::Impl::run_filled_up(std::span<const LinearTarget> targets, const Tensor& x, Precision precision) {
  const int64_t rows = x.dim(0), k = x.dim(1);
  int64_t size = kLeastRows * k;
  for (const LinearTarget& target : targets)
    size += kLeastRows * target.w.rows();
  auto* next = reinterpret_cast<float*>(filled_up_.reserve(size * static_cast<int64_t>(sizeof(float))));
  const auto take = [&](int64_t cols) {
    return Tensor(std::exchange(next, next + kLeastRows * cols), DType::kF32, {kLeastRows, cols});
  };
  const Tensor more = take(k);
  for (int64_t row = 0; row < kLeastRows; ++row)
    std::copy_n(x.f32_row(std::min(row, rows - 1)), k, more.f32_row(row));
  std::vector<LinearTarget> filled_up(targets.begin(), targets.end());
  for (LinearTarget& target : filled_up)
    target.out = take(target.w.rows());
  run(filled_up, more, precision);
  for (size_t i = 0; i < targets.size(); ++i) {
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(filled_up[i].out.f32_row(row), targets[i].w.rows(), targets[i].out.f32_row(row));
  }
}

void Linear::Impl::run(std::span<const LinearTarget> targets, const Tensor& x, Precision precision) {
  const int64_t rows = x.dim(0), k = x.dim(1);
  if (rows == 0 || targets.empty()) return;
  if (deterministic_ && rows < kLeastRows) return run_filled_up(targets, x, precision);
  int64_t all_cols = 0, all_bytes = 0;
  for (const LinearTarget& target : targets) {
    all_cols += target.w.rows();
    all_bytes += target.w.bytes();
  }

  std::array<const void*, kNumInputs> prepared = {};
  jobs_.clear();
  int64_t parts = 0;
  for (const LinearTarget& target : targets) {
    const LinearFormat& format = format_of(kernels_, target.w.dtype);
    const bool exact = precision == Precision::kExact;
    const bool int8 = precision == Precision::kInt8 && format.gemm_int8 != nullptr && !is_few(rows, kInputQ8);
    const bool half = (precision == Precision::kHalf || precision == Precision::kInt8) && !int8 &&
                      format.gemm_half != nullptr && !is_few(rows, kInputBF16);
    const Input input = exact ? kInputF32 : int8 ? kInputQ8 : half ? kInputBF16 : format.fast_input;
    const bool gemv = is_few(rows, input);
    if (prepared[input] == nullptr) prepared[input] = prepare(x, input, gemv);
    Job job;
    job.kernel = exact  ? (gemv ? format.gemv_exact : format.gemm_exact)
                 : int8 ? format.gemm_int8
                 : half ? format.gemm_half
                        : (gemv ? format.gemv : format.gemm);
    job.args = {
        .w = static_cast<const uint8_t*>(target.w.data),
        .w_stride = row_bytes(target.w.dtype, k),
        .cols = target.w.rows(),
        .k = k,
        .x = prepared[input],
        .x_stride = input == kInputF32 ? x.stride(0) * 4 : kernels_.inputs[input].row_bytes(k),
        .rows = rows,
        .first_tile = 0,
        .end_tile = 0,
        .out = target.out.f32(),
        .out_stride = target.out.stride(0),
        .bias = target.bias.defined() ? target.bias.f32() : nullptr,
        .scratch = nullptr,
    };
    job.part_cols = part_cols(job.args, gemv, all_cols, all_bytes);
    job.first_part = parts;
    job.tiles = gemv ? 0 : divide_up(rows, kernels_.inputs[input].tile_rows);
    parts += divide_up(job.args.cols, job.part_cols);
    jobs_.push_back(job);
  }

  const int64_t blocks = divide_up(rows, kBlockRows);
  split(blocks * parts, rows * all_bytes <= kSmallWorkBytes, [&](int64_t task, int worker) {
    const int64_t block = task / parts, part = task % parts;
    size_t j = jobs_.size() - 1;
    while (jobs_[j].first_part > part)
      --j;
    const Job& job = jobs_[j];
    if (job.tiles == 0 && block > 0) return;  // all rows at once
    const int64_t col = (part - job.first_part) * job.part_cols;
    ProductArgs args = job.args;
    args.cols = std::min(job.part_cols, args.cols - col);
    args.w += col * args.w_stride;
    args.out += col;
    if (args.bias != nullptr) args.bias += col;
    args.scratch = scratch_.data() + worker * kernels_.scratch_bytes;
    args.first_tile = job.tiles * block / blocks;
    args.end_tile = job.tiles * (block + 1) / blocks;
    job.kernel(args);
  });
}

Linear::Linear(ThreadPool& pool, const LinearKernels& kernels, bool deterministic)
    : impl_(std::make_unique<Impl>(pool, kernels, deterministic)) {}
Linear::~Linear() = default;

void Linear::run(std::span<const LinearTarget> targets, Tensor x, Precision precision) {
  impl_->run(targets, x, precision);
}

}  // namespace minicpm::cpu
