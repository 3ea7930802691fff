#include "base/siphash.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace minicpm {
namespace {

/// Digest of bytes 0, 1, 2, ... under the key 00 01 02 ... 0f, in hexadecimal, fed in pieces of `piece` bytes.
std::string digest(size_t length, size_t piece) {
  std::vector<uint8_t> bytes(length);
  for (size_t i = 0; i < length; ++i)
    bytes[i] = static_cast<uint8_t>(i);
  SipHash hash({0x0706050403020100u, 0x0f0e0d0c0b0a0908u});
  for (size_t at = 0; at < length; at += piece)
    hash.add(std::as_bytes(std::span(bytes).subspan(at, std::min(piece, length - at))));
  const Digest128 words = hash.finish();
  std::string text;
  for (std::byte byte : std::as_bytes(std::span(words))) {
    text += "0123456789abcdef"[std::to_integer<int>(byte) >> 4];
    text += "0123456789abcdef"[std::to_integer<int>(byte) & 15];
  }
  return text;
}

// The authors' test vectors of the 128-bit form.
TEST(SipHash, KnownDigests) {
  EXPECT_EQ(digest(0, 1), "a3817f04ba25a8e66df67214c7550293");
  EXPECT_EQ(digest(1, 1), "da87c1d86b99af44347659119b22fc45");
}

TEST(SipHash, PiecesDoNotMatter) {
  for (size_t length : {3, 8, 9, 31, 64, 100}) {
    for (size_t piece : {1, 3, 7, 8, 16})
      EXPECT_EQ(digest(length, piece), digest(length, length)) << length << " bytes by " << piece;
  }
}

TEST(SipHash, ListsDoNotRunIntoEachOther) {
  const auto two_lists = [](std::vector<int> a, std::vector<int> b) {
    SipHash hash(SipKey{});
    hash.add_list(std::span<const int>(a));
    hash.add_list(std::span<const int>(b));
    return hash.finish();
  };
  EXPECT_EQ(two_lists({1, 2}, {3}), two_lists({1, 2}, {3}));
  EXPECT_NE(two_lists({1, 2}, {3}), two_lists({1}, {2, 3}));
}

}  // namespace
}  // namespace minicpm
