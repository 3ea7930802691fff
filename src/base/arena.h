// Bump allocator for activations. Memory is handed out 64-byte aligned and given back by scopes, so the peak of a
// forward pass is the scratch of one layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "base/tensor.h"

namespace minicpm {

class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// `bytes` of uninitialised memory, aligned to 64. Grows by whole chunks; addresses stay valid until the enclosing
  /// scope ends. Throws Error out_of_memory.
  void* allocate(size_t bytes);
  Tensor tensor(DType dtype, std::initializer_list<int64_t> shape);
  Tensor tensor(DType dtype, std::span<const int64_t> shape);

  size_t used_bytes() const { return used_; }
  size_t peak_bytes() const { return peak_; }

 private:
  friend class ArenaScope;
  struct Chunk {
    std::byte* data;
    size_t size;
  };
  struct Mark {
    size_t chunk, offset, used;
  };
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0;   // index of the chunk in use
  size_t offset_ = 0;  // first free byte in it
  size_t used_ = 0;
  size_t peak_ = 0;
};

/// Everything allocated inside the scope is released at its end.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_{arena.chunk_, arena.offset_, arena.used_} {}
  ~ArenaScope() {
    arena_.chunk_ = mark_.chunk;
    arena_.offset_ = mark_.offset;
    arena_.used_ = mark_.used;
  }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace minicpm
