// Keys and values of all sequences in fixed blocks, shared by reference count.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "models/decoder.h"

namespace minicpm {

inline constexpr int64_t kBlockTokens = 32;

/// What keys and values may be held in; q8_0 where head_dim is a multiple of 32.
inline constexpr std::array kCacheTypes = {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kF32};

/// Bookkeeping of block numbers: pure, testable without a model.
class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks);

  /// A free block with one reference, or -1 when none is left.
  int32_t allocate();
  void retain(int32_t block);
  /// Gives one reference back; the block is free again when none is left.
  void release(int32_t block);

  int references(int32_t block) const { return references_[block]; }
  int64_t num_blocks() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_blocks() const { return static_cast<int64_t>(free_.size()); }

 private:
  std::vector<int> references_;
  std::vector<int32_t> free_;
};

/// The memory behind the block numbers, for every layer. Pages are committed by the operating system when first
/// written.
class KvCache {
 public:
  /// Room for `tokens` tokens. Throws Error out_of_memory; invalid_request or unsupported for a type that is none of
  /// kCacheTypes or that the heads do not fit.
  KvCache(const DecoderConfig& config, DType dtype, int64_t tokens);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::span<const KvLayer> layers() const { return layers_; }
  BlockPool& pool() { return pool_; }
  const BlockPool& pool() const { return pool_; }
  /// Copies the content of one block, all layers.
  void copy_block(int32_t from, int32_t to);

  /// Bytes of one block's keys and values, all layers.
  size_t block_bytes() const { return 2 * layers_.size() * block_bytes_; }
  /// The content of one block in block_bytes() bytes, with zeros for what lies behind its first `tokens` tokens.
  void read_block(int32_t block, int64_t tokens, std::span<std::byte> to) const;
  /// The other way.
  void write_block(int32_t block, std::span<const std::byte> from);

  /// Bytes that `tokens` tokens take, rounded up to blocks. Throws as the constructor does.
  static int64_t bytes_for(const DecoderConfig& config, DType dtype, int64_t tokens);

 private:
  BlockPool pool_;
  std::vector<KvLayer> layers_;
  std::byte* memory_ = nullptr;
  size_t size_ = 0;
  size_t block_bytes_ = 0;  // of k, or v, of one layer
};

}  // namespace minicpm
