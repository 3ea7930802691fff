#include "engine/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace minicpm {
namespace {

int64_t blocks_for(int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

}  // namespace

BlockPool::BlockPool(int64_t num_blocks) : references_(num_blocks, 0) {
  free_.reserve(num_blocks);
  for (int64_t block = num_blocks - 1; block >= 0; --block)
    free_.push_back(static_cast<int32_t>(block));
}

int32_t BlockPool::allocate() {
  if (free_.empty()) return -1;
  const int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  return block;
}

void BlockPool::retain(int32_t block) {
  MINICPM_CHECK(references_[block] > 0);
  ++references_[block];
}

void BlockPool::release(int32_t block) {
  MINICPM_CHECK(references_[block] > 0);
  if (--references_[block] == 0) free_.push_back(block);
}

int64_t KvCache::bytes_for(const DecoderConfig& config, DType dtype, int64_t tokens) {
  if (std::ranges::find(kCacheTypes, dtype) == kCacheTypes.end()) {
    fail(ErrorCode::kInvalidRequest, "the KV cache is held in f32, f16, bf16 or q8_0, not in {}", name(dtype));
  }
  if (config.head_dim % info(dtype).block_elements != 0) {
    fail(ErrorCode::kUnsupported, "a KV cache in {} needs heads of a multiple of {} values; this model's have {}",
         name(dtype), info(dtype).block_elements, config.head_dim);
  }
  // Two of each (k and v); sizes were limited when the configuration was read, so only the token count can be large.
  const uint64_t per_block = 2ull * static_cast<uint64_t>(config.num_layers) *
                             static_cast<uint64_t>(row_bytes(dtype, config.kv_dim * kBlockTokens));
  const auto bytes = checked_mul(per_block, static_cast<uint64_t>(blocks_for(tokens)));
  if (!bytes || *bytes > static_cast<uint64_t>(INT64_MAX)) {
    fail(ErrorCode::kOutOfMemory, "a context of {} tokens does not fit in memory", tokens);
  }
  return static_cast<int64_t>(*bytes);
}

KvCache::KvCache(const DecoderConfig& config, DType dtype, int64_t tokens)
    : pool_(blocks_for(tokens)), size_(static_cast<size_t>(bytes_for(config, dtype, tokens))) {
  void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fail(ErrorCode::kOutOfMemory, "{} bytes for a context of {} tokens could not be allocated", size_, tokens);
  }
  memory_ = static_cast<std::byte*>(memory);
  block_bytes_ = static_cast<size_t>(row_bytes(dtype, config.kv_dim * kBlockTokens));
  const size_t half_layer = block_bytes_ * static_cast<size_t>(pool_.num_blocks());
  for (int64_t i = 0; i < config.num_layers; ++i) {
    KvLayer layer;
    layer.k = memory_ + static_cast<size_t>(2 * i) * half_layer;
    layer.v = memory_ + static_cast<size_t>(2 * i + 1) * half_layer;
    layer.dtype = dtype;
    layer.num_blocks = pool_.num_blocks();
    layer.kv_heads = config.num_kv_heads;
    layer.block_tokens = kBlockTokens;
    layer.head_dim = config.head_dim;
    layers_.push_back(layer);
  }
}

KvCache::~KvCache() {
  if (memory_ != nullptr) ::munmap(memory_, size_);
}

void KvCache::copy_block(int32_t from, int32_t to) {
  for (const KvLayer& layer : layers_) {
    for (void* half : {layer.k, layer.v}) {
      auto* bytes = static_cast<std::byte*>(half);
      std::memcpy(bytes + static_cast<size_t>(to) * block_bytes_, bytes + static_cast<size_t>(from) * block_bytes_,
                  block_bytes_);
    }
  }
}

void KvCache::read_block(int32_t block, int64_t tokens, std::span<std::byte> to) const {
  MINICPM_CHECK(to.size() == block_bytes());
  std::byte* out = to.data();
  for (const KvLayer& layer : layers_) {
    const auto row = static_cast<size_t>(row_bytes(layer.dtype, layer.head_dim));
    const size_t head = row * kBlockTokens, used = row * static_cast<size_t>(std::min(tokens, kBlockTokens));
    for (const void* half : {layer.k, layer.v}) {
      std::memcpy(out, static_cast<const std::byte*>(half) + static_cast<size_t>(block) * block_bytes_, block_bytes_);
      for (std::byte* const end = out + block_bytes_; out < end; out += head)
        std::memset(out + used, 0, head - used);
    }
  }
}

void KvCache::write_block(int32_t block, std::span<const std::byte> from) {
  MINICPM_CHECK(from.size() == block_bytes());
  const std::byte* in = from.data();
  for (const KvLayer& layer : layers_) {
    for (void* half : {layer.k, layer.v}) {
      std::memcpy(static_cast<std::byte*>(half) + static_cast<size_t>(block) * block_bytes_, in, block_bytes_);
      in += block_bytes_;
    }
  }
}

}  // namespace minicpm
