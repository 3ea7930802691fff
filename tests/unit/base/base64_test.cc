#include "base/base64.h"

#include <gtest/gtest.h>

#include <random>

namespace minicpm {
namespace {

TEST(Base64Test, TheExamplesOfTheStandard) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("Zm8="), "fo");
  EXPECT_EQ(decode_base64("Zm9v"), "foo");
  EXPECT_EQ(decode_base64("Zm9vYg=="), "foob");
  EXPECT_EQ(decode_base64("Zm9vYmE="), "fooba");
  EXPECT_EQ(decode_base64("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decode_base64("+/+/"), "\xfb\xff\xbf");
}

TEST(Base64Test, WhiteSpaceAndMissingPadding) {
  EXPECT_EQ(decode_base64("Zm9v\r\nYm Fy\t"), "foobar");
  EXPECT_EQ(decode_base64("Zm9vYg"), "foob");
  EXPECT_EQ(decode_base64("Zm9vYmE"), "fooba");
}

TEST(Base64Test, WhatIsNotBase64) {
  for (const char* text : {"Z", "Zm9vZ", "Zg===", "Zg=", "Zm9v=", "Z-9v", "Zm9v*", "Zg==Zg==", "====", "\xc3\xa9"})
    EXPECT_FALSE(decode_base64(text).has_value()) << text;
}

TEST(Base64Test, RandomBytesComeBack) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t length = 0; length < 60; ++length) {
    std::string bytes, text;
    for (size_t i = 0; i < length; ++i)
      bytes += static_cast<char>(random());
    for (size_t i = 0; i < length; i += 3) {
      uint32_t bits = 0;
      for (size_t k = 0; k < 3; ++k)
        bits = bits << 8 | (i + k < length ? static_cast<uint8_t>(bytes[i + k]) : 0);
      for (size_t k = 0; k < 4; ++k)
        text += i + k <= length ? kLetters[bits >> (18 - 6 * k) & 63] : '=';
    }
    EXPECT_EQ(decode_base64(text), bytes) << text;
  }
}

TEST(Base64Test, WritesWhatTheStandardHas) {
  EXPECT_EQ(encode_base64(""), "");
  EXPECT_EQ(encode_base64("f"), "Zg==");
  EXPECT_EQ(encode_base64("fo"), "Zm8=");
  EXPECT_EQ(encode_base64("foo"), "Zm9v");
  EXPECT_EQ(encode_base64("foob"), "Zm9vYg==");
  EXPECT_EQ(encode_base64("\xfb\xff\xbf"), "+/+/");
}

}  // namespace
}  // namespace minicpm
