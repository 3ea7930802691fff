#include "models/lora_merge.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/file_map.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "io/atomic_folder.h"
#include "io/safetensors.h"
#include "io/tensor_table.h"
#include "quant/format.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPieceBytes = 4 << 20;  // of a tensor, made and written at a time
constexpr int64_t kTaskRows = 16;
constexpr float kLargestF16 = 65504.0f;
constexpr size_t kMaxConfigBytes = 16 << 20;

/// One tensor of the result: W, the addition to it if any, and the type it gets.
struct Product {
  std::string name;
  Weight w;
  const LowRank* low_rank = nullptr;
  DType type = DType::kF32;
};

std::vector<float> all_values(const Weight& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows() * matrix.cols()));
  for (int64_t row = 0; row < matrix.rows(); ++row)
    dequantize_row(matrix.dtype, matrix.row(row), values.data() + row * matrix.cols(), matrix.cols());
  return values;
}

/// Makes rows of W + scale * B A. One object per tensor, so that A and B are converted once.
class RowMaker {
 public:
  explicit RowMaker(const Product& product) : product_(product) {
    if (product.low_rank == nullptr) return;
    a_ = all_values(product.low_rank->a);
    b_ = all_values(product.low_rank->b);
  }

  /// Memory of one thread: a row of W and one of B A.
  struct Scratch {
    explicit Scratch(const Product& product)
        : values(static_cast<size_t>(product.w.cols())), sum(static_cast<size_t>(product.w.cols())) {}
    std::vector<float> values, sum;
  };

  /// Row `row` into `out`. Returns false if a value does not fit the type.
  bool make(int64_t row, std::byte* out, Scratch& scratch) const {
    const int64_t cols = product_.w.cols();
    std::vector<float>& values = scratch.values;
    dequantize_row(product_.w.dtype, product_.w.row(row), values.data(), cols);
    if (product_.low_rank != nullptr) add_product(row, scratch);
    quantize_row(product_.type, values.data(), out, cols);
    return product_.type != DType::kF16 ||
           std::ranges::all_of(values, [](float value) { return !(std::abs(value) > kLargestF16); });
  }

 private:
  void add_product(int64_t row, Scratch& scratch) const {
    auto& [values, sum] = scratch;
    const auto cols = values.size();
    const int64_t r = product_.low_rank->a.rows();
    std::ranges::fill(sum, 0.0f);
    for (int64_t k = 0; k < r; ++k) {
      const float factor = b_[static_cast<size_t>(row * r + k)];
      const float* line = a_.data() + static_cast<size_t>(k) * cols;
      for (size_t i = 0; i < cols; ++i)
        sum[i] += factor * line[i];
    }
    for (size_t i = 0; i < cols; ++i)
      values[i] += product_.low_rank->scale * sum[i];
  }

  const Product& product_;
  std::vector<float> a_, b_;
};

void produce_rows(const Product& product, ThreadPool& pool, const ByteSink& sink) {
  const RowMaker maker(product);
  const int64_t rows = product.w.rows(), bytes = row_bytes(product.type, product.w.cols());
  const int64_t piece_rows =
      std::clamp<int64_t>(kPieceBytes / std::max<int64_t>(bytes, 1), 1, std::max<int64_t>(rows, 1));
  std::vector<std::byte> piece(static_cast<size_t>(piece_rows * bytes));
  std::vector<RowMaker::Scratch> scratch(static_cast<size_t>(pool.num_threads()), RowMaker::Scratch(product));
  std::atomic<bool> fits{true};
  for (int64_t first = 0; first < rows; first += piece_rows) {
    const int64_t count = std::min(piece_rows, rows - first);
    pool.run((count + kTaskRows - 1) / kTaskRows, [&](int64_t task, int worker) {
      for (int64_t row = task * kTaskRows; row < std::min(count, (task + 1) * kTaskRows); ++row) {
        if (!maker.make(first + row, piece.data() + row * bytes, scratch[static_cast<size_t>(worker)])) fits = false;
      }
    });
    if (!fits) {
      fail(ErrorCode::kInvalidRequest, "tensor {} has values beyond the largest of F16; use --type bf16 or f32",
           product.name);
    }
    sink(std::span(piece).first(static_cast<size_t>(count * bytes)));
  }
}

bool is_float_weight(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// What the merged checkpoint consists of, in the base's order.
std::vector<Product> products(const WeightSource& base, const Lora& lora, const MergeOptions& options,
                              MergeReport& report) {
  std::vector<Product> result;
  for (const StoredTensor& stored : base.tensors()) {
    Product product{stored.name, stored.view, lora.low_rank(stored.name), stored.view.dtype};
    const StoredTensor* whole = lora.whole(stored.name);
    const Weight* changed = product.low_rank != nullptr ? &product.low_rank->a
                            : whole != nullptr          ? &whole->view
                                                        : nullptr;
    if (is_float_weight(stored.view.dtype)) {
      product.type = options.type.value_or(stored.view.dtype);
    } else if (changed != nullptr) {
      fail(ErrorCode::kUnsupported, "{}: tensor {} has type {}, to which no adapter can be added", stored.file,
           stored.name, name(stored.view.dtype));
    }
    if (product.low_rank != nullptr) ++report.adapted;
    if (whole != nullptr) {
      product.w = whole->view;
      ++report.replaced;
    }
    result.push_back(std::move(product));
  }
  return result;
}

/// The adapter was checked against config.json; the stored tensors must agree with that.
void check_base(const WeightSource& base, const Lora& lora) {
  const auto check = [&](const std::string& name, std::span<const int64_t> expected) {
    const StoredTensor* stored = base.find(name);
    if (stored == nullptr)
      fail(ErrorCode::kBadFile, "{}: tensor {}, which the adapter changes, is missing", base.path(), name);
    if (std::ranges::equal(stored->view.shape(), expected)) return;
    fail(ErrorCode::kBadFile, "{}: tensor {} has shape {}, expected {}", stored->file, name,
         shape_string(stored->view.shape()), shape_string(expected));
  };
  for (const LoraLayer& layer : lora.adapter().layers) {
    const int64_t shape[] = {layer.b.rows(), layer.a.cols()};
    check(layer.module + ".weight", shape);
  }
  for (const WholeTensor& tensor : lora.adapter().whole) {
    if (lora.whole(tensor.name) != nullptr) check(tensor.name, tensor.view.shape());
  }
}

TensorToWrite to_write(const Product& product, ThreadPool& pool, const std::function<void(int64_t)>& wrote) {
  TensorToWrite out;
  out.name = product.name;
  out.dtype = product.type;
  out.dims.assign(product.w.shape().begin(), product.w.shape().end());
  out.produce = [&product, &pool, wrote](const ByteSink& sink) {
    const ByteSink counted = [&](std::span<const std::byte> bytes) {
      sink(bytes);
      wrote(static_cast<int64_t>(bytes.size()));
    };
    if (product.low_rank != nullptr || product.type != product.w.dtype) return produce_rows(product, pool, counted);
    const auto* data = static_cast<const std::byte*>(product.w.data);
    const int64_t total = stored_bytes(product.w);
    for (int64_t at = 0; at < total; at += kPieceBytes)
      counted({data + at, static_cast<size_t>(std::min(kPieceBytes, total - at))});
  };
  return out;
}

/// Weights are written anew, and files whose names begin with a dot belong to tools that fetched the folder.
bool is_copied(const fs::path& file) {
  const std::string name = file.filename().string();
  return !name.starts_with('.') && !name.ends_with(".safetensors") && !name.ends_with(".safetensors.index.json") &&
         !name.starts_with("pytorch_model") && !name.ends_with(".gguf");
}

std::string config_with_type(const fs::path& file, DType type) {
  Json json = parse_json(read_file(file, kMaxConfigBytes), file.string());
  json[json.contains("dtype") ? "dtype" : "torch_dtype"] = type == DType::kF32   ? "float32"
                                                           : type == DType::kF16 ? "float16"
                                                                                 : "bfloat16";
  return json.dump(2) + "\n";
}

void copy_other_files(const MergeOptions& options, const fs::path& out) {
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(options.base)) {
      const fs::path to = out / entry.path().filename();
      if (!is_copied(entry.path())) continue;
      if (options.type && entry.path().filename() == "config.json") {
        write_file_atomically(to, config_with_type(entry.path(), *options.type));
      } else if (entry.is_directory()) {
        fs::copy(entry.path(), to, fs::copy_options::recursive);
      } else if (entry.is_regular_file()) {
        fs::copy_file(entry.path(), to);  // what a link points to, not the link
      }
    }
  } catch (const fs::filesystem_error& e) {
    fail(ErrorCode::kIo, "{}: the files beside the weights cannot be copied: {}", options.base.string(),
         e.code().message());
  }
}

void check_space(const fs::path& folder, int64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= static_cast<uintmax_t>(bytes)) return;
  fail(ErrorCode::kIo, "{}: the merged weights need {} bytes, but the disk has {} left", folder.string(), bytes,
       space.available);
}

}  // namespace

MergeReport merge_lora(Lora& lora, const MergeOptions& options, const MergeProgress& progress) {
  lora.bind(read_hf_config(options.base / "config.json", {}));
  const auto base = open_safetensors_folder(options.base);
  check_base(*base, lora);

  MergeReport report;
  const std::vector<Product> merged = products(*base, lora, options, report);
  ThreadPool pool(options.num_threads);
  int64_t done = 0;
  std::vector<TensorToWrite> tensors;
  for (const Product& product : merged) {
    tensors.push_back(to_write(product, pool, [&](int64_t bytes) {
      done += bytes;
      if (progress) progress(done, report.bytes);
    }));
    report.bytes += tensors.back().bytes();
  }
  report.tensors = static_cast<int64_t>(tensors.size());

  AtomicFolder out(options.out);
  check_space(out.path(), report.bytes);
  copy_other_files(options, out.path());
  report.files = write_safetensors_folder(out.path(), std::move(tensors),
                                          options.shard_bytes > 0 ? options.shard_bytes : kShardBytes);
  out.commit();
  return report;
}

}  // namespace minicpm
