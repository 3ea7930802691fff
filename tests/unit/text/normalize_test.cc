#include "text/normalize.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <random>

#include "text/utf8.h"

namespace minicpm {
namespace {

std::string nfc(std::string_view text) {
  std::string buffer;
  return std::string(normalize_nfc(text, buffer));
}

/// The library's own whole-string function.
std::string reference_nfc(const std::string& text) {
  utf8proc_uint8_t* result = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &result, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  EXPECT_GE(length, 0);
  const std::string copy(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
  std::free(result);
  return copy;
}

TEST(NormalizeTest, ComposesAndOrders) {
  EXPECT_EQ(nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(nfc("\u1100\u1161\u11A8"), "\uAC01");  // Hangul
  EXPECT_EQ(nfc("\u212B"), "\u00C5");              // a singleton
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");  // excluded from composition
  EXPECT_EQ(nfc(""), "");
}

TEST(NormalizeTest, TextInFormIsNotCopied) {
  std::string buffer;
  const std::string text = "Grüße, мир, 你好。";
  EXPECT_EQ(normalize_nfc(text, buffer).data(), text.data());
}

TEST(NormalizeTest, AgreesWithTheLibraryOnEveryCharacterAlone) {
  for (uint32_t c = 1; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_EQ(nfc(text), reference_nfc(text)) << std::hex << c;
  }
}

TEST(NormalizeTest, AgreesWithTheLibraryOnRandomText) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const uint32_t pools[][2] = {{0x20, 0x7E},       {0xC0, 0x24F},    {0x300, 0x36F},   {0x1100, 0x11FF},
                               {0x900, 0x9FF},     {0x3040, 0x30FF}, {0x1E00, 0x1EFF}, {0xAC00, 0xAC80},
                               {0x1D15E, 0x1D165}, {0x400, 0x4FF},   {0xF900, 0xFA00}, {0x2000, 0x2130}};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (unsigned i = random() % 20; i > 0; --i) {
      const auto& pool = pools[random() % std::size(pools)];
      append_utf8(text, pool[0] + random() % (pool[1] - pool[0] + 1));
    }
    ASSERT_EQ(nfc(text), reference_nfc(text)) << text;
  }
}

TEST(NormalizeTest, LongRunsOfMarksAreSortedOnce) {
  std::string text = "a";
  std::string low, high;
  for (int i = 0; i < 300'000; ++i) {
    text += i % 2 == 0 ? "\u0301" : "\u0323";  // classes 230 and 220
    (i % 2 == 0 ? high : low) += i % 2 == 0 ? "\u0301" : "\u0323";
  }
  // The first dot below joins the letter; the rest follow in order of their classes.
  EXPECT_EQ(nfc(text), "\u1EA1" + low.substr(2) + high);
}

}  // namespace
}  // namespace minicpm
