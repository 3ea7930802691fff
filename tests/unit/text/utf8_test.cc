#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/byte_level.h"
#include "text/space_mark.h"

namespace minicpm {
namespace {

TEST(Utf8Test, EveryCodePointSurvivesARoundTrip) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;  // surrogates are not characters
    std::string text;
    append_utf8(text, c);
    const Utf8Step step = next_utf8(text);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kValid) << c;
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, text.size()) << c;
  }
}

TEST(Utf8Test, SurrogatesOverlongFormsAndLargeNumbersAreInvalid) {
  for (const char* text : {"\xED\xA0\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xF0\x80\x80\x80",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\x80"}) {
    EXPECT_EQ(next_utf8(text).kind, Utf8Step::Kind::kInvalid) << text;
  }
}

// The examples of the Unicode standard, tables 3-8 to 3-11.
TEST(Utf8Test, ReplacesMaximalSubparts) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                                 "A"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
                                 "A"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x91\x92\x93\xFF"
                                 "A\x80\xBF"
                                 "B"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                                 "A"),
            r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("a\xE2\x82"), "a" + r);
}

TEST(Utf8Test, FindsWhereValidTextEnds) {
  const std::string valid = "abcdefgh\xE4\xBD\xA0 and more than eight bytes";
  EXPECT_EQ(valid_utf8_prefix(valid), valid.size());
  EXPECT_EQ(valid_utf8_prefix(valid + "\xE4\xBD"), valid.size());
  EXPECT_EQ(valid_utf8_prefix("abcdefghi\xFFxyz"), 9u);
  EXPECT_EQ(invalid_utf8_prefix("\xFF\xE4\xBD"
                                "a"),
            3u);
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
}

TEST(ByteLevelTest, KnownCharacters) {
  EXPECT_EQ(to_byte_level(" \n\t"), "ĠĊĉ");
  EXPECT_EQ(to_byte_level("az!~"), "az!~");
  EXPECT_EQ(to_byte_level("\x7f\xA0\xAD"), "ġłŃ");
  EXPECT_EQ(from_byte_level("æķ°"), "\xE6\x95\xB0");
  EXPECT_FALSE(from_byte_level(" ").has_value());
  EXPECT_FALSE(from_byte_level("\xFF").has_value());
}

TEST(ByteLevelTest, EveryByteHasItsOwnCharacter) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all += static_cast<char>(byte);
  EXPECT_EQ(from_byte_level(to_byte_level(all)), all);
}

TEST(SpaceMarkTest, Conversions) {
  EXPECT_EQ(to_space_marks(" a  b"), "▁a▁▁b");
  EXPECT_EQ(from_space_marks("▁a▁▁b"), " a  b");
  EXPECT_EQ(byte_token_name(10), "<0x0A>");
  EXPECT_EQ(byte_of_token_name("<0xFf>"), std::nullopt);
  EXPECT_EQ(byte_of_token_name("<0xFE>"), 0xFE);
  EXPECT_EQ(byte_of_token_name("<0xFE"), std::nullopt);
}

}  // namespace
}  // namespace minicpm
