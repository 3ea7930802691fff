#include "models/tensor_loader.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "quant/format.h"

namespace minicpm {
void* ConvertedStore::allocate_bytes(size_t bytes) {
  try {
    buffers_.push_back(std::make_unique<std::byte[]>(bytes));
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "{} bytes for converted weights could not be allocated", bytes);
  }
  bytes_ += static_cast<int64_t>(bytes);
  return buffers_.back().get();
}

Tensor ConvertedStore::allocate(std::span<const int64_t> shape) {
  Tensor t(nullptr, DType::kF32, shape);
  t.data = allocate_bytes(static_cast<size_t>(t.numel()) * sizeof(float));
  return t;
}

TensorLoader::Found TensorLoader::find(const TensorSpec& spec) {
  std::string name = gguf_ ? spec.gguf : spec.hf;
  if (exchange_ffn_) name = exchanged_ffn(std::move(name));
  const StoredTensor* stored = source_->find(name);
  if (stored != nullptr) used_.insert(name);
  // An adapter's tensors have the names and layouts of safetensors, whatever the base is.
  const StoredTensor* whole = lora_ != nullptr ? lora_->whole(spec.hf) : nullptr;
  if (whole != nullptr) return {whole, false};
  if (stored == nullptr && spec.presence == Presence::kRequired) {
    fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source_->path(), name);
  }
  return {stored, gguf_};
}

Weight TensorLoader::view_of(const TensorSpec& spec, const Found& found) {
  const StoredTensor& stored = *found.tensor;
  const std::vector<int64_t> expected = found.gguf ? spec.shape : spec.hf_shape();
  if (!std::ranges::equal(stored.view.shape(), expected)) {
    fail(ErrorCode::kBadFile, "{}: tensor {} has shape {}, expected {}", stored.file, stored.name,
         shape_string(stored.view.shape()), shape_string(expected));
  }
  if (format_traits(stored.view.dtype) == nullptr) {
    fail(ErrorCode::kUnsupported, "{}: tensor {} has type {}, which cannot hold weights", stored.file, stored.name,
         minicpm::name(stored.view.dtype));
  }
  Weight view = stored.view;
  if (found.gguf || spec.layout == Layout::kSame) return view;
  if (spec.layout == Layout::kTransposed) return transposed(spec, view);

  // One third of a projection that is stored whole: rows lie together, so it is a view.
  const int64_t third = static_cast<int64_t>(spec.layout) - static_cast<int64_t>(Layout::kFirstThird);
  const int64_t row = view.rank == 1 ? row_bytes(view.dtype, 1) : row_bytes(view.dtype, view.cols());
  view.dims[0] = spec.shape[0];
  view.data = static_cast<const char*>(view.data) + third * spec.shape[0] * row;
  return view;
}

Weight TensorLoader::transposed(const TensorSpec& spec, Weight view) {
  const DTypeInfo& format = info(view.dtype);
  if (format.is_quantised) {
    fail(ErrorCode::kUnsupported, "{}: tensor {} has a block format and cannot be transposed", source_->path(),
         spec.hf);
  }
  const int64_t rows = view.dims[1], cols = view.dims[0], bytes = format.block_bytes;
  auto* out = static_cast<char*>(store_->allocate_bytes(static_cast<size_t>(rows * cols * bytes)));
  const auto* in = static_cast<const char*>(view.data);
  constexpr int64_t kTile = 64;  // both sides of a tile stay in the first-level cache
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (int64_t c0 = 0; c0 < cols; c0 += kTile) {
      for (int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
        for (int64_t c = c0; c < std::min(cols, c0 + kTile); ++c) {
          std::memcpy(out + (r * cols + c) * bytes, in + (c * rows + r) * bytes, static_cast<size_t>(bytes));
        }
      }
    }
  }
  view.data = out;
  view.dims[0] = rows;
  view.dims[1] = cols;
  return view;
}

Weight TensorLoader::load_weight(const TensorSpec& spec) {
  const Found found = find(spec);
  if (found.tensor == nullptr) return {};
  Weight view = view_of(spec, found);
  if (lora_ != nullptr) view.adapter = lora_->low_rank(spec.hf);
  return view;
}

Tensor TensorLoader::load_f32(const TensorSpec& spec) {
  const Found found = find(spec);
  if (found.tensor == nullptr) return {};
  const Weight view = view_of(spec, found);
  Tensor t = store_->allocate(spec.shape);
  for (int64_t r = 0; r < view.rows(); ++r) {
    dequantize_row(view.dtype, view.row(r), t.f32() + r * view.cols(), view.cols());
  }
  return t;
}

void TensorLoader::check_no_extra(std::string_view other_parts) const {
  const auto belongs_to_other_part = [&](std::string_view name) {
    for (std::string_view rest = other_parts; !rest.empty();) {
      const size_t end = std::min(rest.find(' '), rest.size());
      if (name.starts_with(rest.substr(0, end))) return true;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return false;
  };
  for (const StoredTensor& tensor : source_->tensors()) {
    if (used_.contains(tensor.name) || is_redundant(tensor.name) || belongs_to_other_part(tensor.name)) continue;
    fail(ErrorCode::kBadFile, "{}: tensor {} does not belong to this model", tensor.file, tensor.name);
  }
}

}  // namespace minicpm
