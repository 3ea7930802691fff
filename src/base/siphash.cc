#include "base/siphash.h"

#include <bit>
#include <cstring>
#include <random>

namespace minicpm {

SipKey SipKey::random() {
  std::random_device device;
  const auto word = [&] { return static_cast<uint64_t>(device()) << 32 | device(); };
  return {word(), word()};
}

// The constants spell "somepseudorandomlygeneratedbytes"; 0xee marks the 128-bit form.
SipHash::SipHash(const SipKey& key)
    : v0_(key.k0 ^ 0x736f6d6570736575u),
      v1_(key.k1 ^ 0x646f72616e646f6du ^ 0xee),
      v2_(key.k0 ^ 0x6c7967656e657261u),
      v3_(key.k1 ^ 0x7465646279746573u) {}

void SipHash::rounds(int count) {
  for (int i = 0; i < count; ++i) {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ = std::rotl(v2_, 32);
  }
}

void SipHash::compress(uint64_t word) {
  v3_ ^= word;
  rounds(2);
  v0_ ^= word;
}

void SipHash::add(std::span<const std::byte> bytes) {
  size_t at = 0;
  const auto push = [&](std::byte byte) {
    tail_ |= static_cast<uint64_t>(byte) << (8 * (length_ % 8));
    if (++length_ % 8 == 0) {
      compress(tail_);
      tail_ = 0;
    }
  };
  while (at < bytes.size() && length_ % 8 != 0)
    push(bytes[at++]);
  for (; bytes.size() - at >= 8; at += 8, length_ += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    compress(word);
  }
  while (at < bytes.size())
    push(bytes[at++]);
}

Digest128 SipHash::finish() {
  compress(length_ << 56 | tail_);
  v2_ ^= 0xee;
  rounds(4);
  const uint64_t first = v0_ ^ v1_ ^ v2_ ^ v3_;
  v1_ ^= 0xdd;
  rounds(4);
  return {first, v0_ ^ v1_ ^ v2_ ^ v3_};
}

}  // namespace minicpm
