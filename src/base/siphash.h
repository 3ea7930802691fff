// SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012): a keyed hash whose collisions cannot be searched for
// without the key, and which is fast enough for pixels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace minicpm {

using Digest128 = std::array<uint64_t, 2>;

struct SipKey {
  uint64_t k0 = 0, k1 = 0;

  /// From the operating system's random numbers.
  static SipKey random();
};

/// Takes bytes piece by piece; the digest does not depend on how they are cut.
class SipHash {
 public:
  explicit SipHash(const SipKey& key);

  void add(std::span<const std::byte> bytes);
  /// Elements as they lie in memory, preceded by their number, so that two lists never run into each other.
  template <typename T>
  void add_list(std::span<const T> values) {
    const uint64_t count = values.size();
    add(std::as_bytes(std::span(&count, 1)));
    add(std::as_bytes(values));
  }
  /// The digest of everything so far. Call once.
  Digest128 finish();

 private:
  void rounds(int count);
  void compress(uint64_t word);

  uint64_t v0_, v1_, v2_, v3_;
  uint64_t length_ = 0;
  uint64_t tail_ = 0;  // bytes that do not fill a word yet, lowest first
};

}  // namespace minicpm
