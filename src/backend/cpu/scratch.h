// Scratch memory of the CPU backend: aligned to 64 bytes and only growing, so a steady step allocates nothing.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace minicpm::cpu {

class Scratch {
 public:
  /// Makes room for `count` floats; the content is lost when it grows. Throws Error out_of_memory.
  void reserve(int64_t count) {
    if (count <= size_) return;
    constexpr size_t kAlignment = 64;
    const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset();
    size_ = 0;
    data_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, bytes)));
    if (data_ == nullptr) fail(ErrorCode::kOutOfMemory, "{} bytes of scratch memory could not be allocated", bytes);
    std::memset(data_.get(), 0, bytes);
    size_ = count;
  }
  float* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> data_;
  int64_t size_ = 0;
};

}  // namespace minicpm::cpu
