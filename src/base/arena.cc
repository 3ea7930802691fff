#include "base/arena.h"

#include <algorithm>
#include <cstdlib>

#include "base/checked.h"

namespace minicpm {
namespace {

constexpr size_t kAlignment = 64;            // a cache line, and a 512-bit vector
constexpr size_t kMinChunkBytes = 4u << 20;  // small models live in one chunk

}  // namespace

Arena::~Arena() {
  for (const Chunk& chunk : chunks_)
    std::free(chunk.data);
}

void* Arena::allocate(size_t bytes) {
  bytes = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  while (chunk_ < chunks_.size() && bytes > chunks_[chunk_].size - offset_) {
    ++chunk_;
    offset_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    const size_t last = chunks_.empty() ? kMinChunkBytes : chunks_.back().size;
    const size_t size = std::max(bytes, last);
    auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, size));
    if (data == nullptr) {
      fail(ErrorCode::kOutOfMemory, "{} bytes for activations could not be allocated", size);
    }
    chunks_.push_back({data, size});
    offset_ = 0;
  }
  void* result = chunks_[chunk_].data + offset_;
  offset_ += bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return result;
}

Tensor Arena::tensor(DType dtype, std::initializer_list<int64_t> shape) {
  return tensor(dtype, std::span<const int64_t>(shape.begin(), shape.size()));
}

Tensor Arena::tensor(DType dtype, std::span<const int64_t> shape) {
  Tensor t(nullptr, dtype, shape);
  t.data = allocate(static_cast<size_t>(row_bytes(dtype, t.numel())));
  return t;
}

}  // namespace minicpm
