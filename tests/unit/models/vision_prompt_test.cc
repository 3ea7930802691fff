#include "models/vision_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace minicpm {
namespace {

using testing::HasSubstr;

const PromptPiece kMark{std::string(kPictureMark), true};

PlaceholderConfig short_config(PlaceholderLayout layout, bool use_image_id) {
  return {.layout = layout, .queries_per_slice = 2, .use_image_id = use_image_id, .query = "U"};
}

TEST(ImagePlaceholder, NewLayout) {
  const PlaceholderConfig with_id = short_config(PlaceholderLayout::kNew, true);
  const PlaceholderConfig without_id = short_config(PlaceholderLayout::kNew, false);
  EXPECT_EQ(image_placeholder(without_id, 5, std::nullopt), "<image>UU</image>");
  EXPECT_EQ(image_placeholder(with_id, 12, std::nullopt), "<image_id>12</image_id><image>UU</image>");
  EXPECT_EQ(
      image_placeholder(with_id, 0, Grid{2, 3}),
      "<image_id>0</image_id><image>UU</image>"
      "<slice>UU</slice><slice>UU</slice>\n<slice>UU</slice><slice>UU</slice>\n<slice>UU</slice><slice>UU</slice>");
}

TEST(ImagePlaceholder, OldLayoutHasNoNumbers) {
  const PlaceholderConfig config = short_config(PlaceholderLayout::kOld, true);
  EXPECT_EQ(image_placeholder(config, 3, std::nullopt), "<image>UU</image>");
  EXPECT_EQ(image_placeholder(config, 3, Grid{2, 2}),
            "<image>UU</image><slice><image>UU</image><image>UU</image>\n<image>UU</image><image>UU</image></slice>");
}

std::string expand(std::vector<PromptPiece> pieces, std::vector<MediaGroup> groups, bool use_image_id = true) {
  return join(expand_image_marks(pieces, groups, short_config(PlaceholderLayout::kNew, use_image_id)));
}

TEST(ExpandImageMarks, NumbersStillPicturesInReadingOrder) {
  EXPECT_EQ(expand({{"a\n", false}, kMark, {"\nb ", false}, kMark, {" c", false}}, {{}, {1, Grid{1, 2}}}),
            "a\n<image_id>0</image_id><image>UU</image>\nb "
            "<image_id>1</image_id><image>UU</image><slice>UU</slice>\n<slice>UU</slice> c");
}

TEST(ExpandImageMarks, PackedFramesShareAPlaceholder) {
  // Text before a skipped mark loses its outer white space; text before the first mark of a group and behind the last
  // mark keeps it.
  const std::string text =
      "A\n" + kMark.text + "\nt1\n" + kMark.text + "\nt2\n" + kMark.text + "t3\n" + kMark.text + "\nC";
  EXPECT_EQ(expand({{text, true}}, {{2, {}}, {2, {}}}),
            "A\n<image_id>0</image_id><image>UU</image>t1\nt2\n<image_id>2</image_id><image>UU</image>t3\nC");
}

TEST(ExpandImageMarks, GroupsWithoutNumbersAreNotCounted) {
  EXPECT_EQ(expand({kMark, {"a", true}, kMark, kMark, {"b", true}, kMark}, {{1, {}}, {2, {}, false}, {1, {}}}),
            "<image_id>0</image_id><image>UU</image>a<image>UU</image>b<image_id>1</image_id><image>UU</image>");
  EXPECT_EQ(expand({kMark, kMark}, {{1, {}}, {1, {}, true}}, false),
            "<image>UU</image><image_id>1</image_id><image>UU</image>");
}

TEST(ExpandImageMarks, StripsAcrossPiecesAndKeepsWhoseTextItIs) {
  const std::vector<PromptPiece> pieces = {kMark,          {" \n", true}, {"\xe3\x80\x80\xc2\xa0two words\x1f", false},
                                           {"\n\t", true}, kMark,         {"\n", true},
                                           {" ", false},   kMark,         {"\n", true}};
  const std::vector<MediaGroup> groups = {{3, {}}};
  const std::vector<PromptPiece> expanded =
      expand_image_marks(pieces, groups, short_config(PlaceholderLayout::kNew, false));
  ASSERT_EQ(expanded.size(), 3u);
  EXPECT_EQ(expanded[0].text, "<image>UU</image>");
  EXPECT_TRUE(expanded[0].control);
  EXPECT_EQ(expanded[1].text, "two words");
  EXPECT_FALSE(expanded[1].control);
  EXPECT_EQ(expanded[2].text, "\n");
}

TEST(ExpandImageMarks, WhatAUserTypesIsNoMark) {
  const std::vector<PromptPiece> pieces = {{"see " + kMark.text, false}, kMark};
  const std::vector<MediaGroup> groups = {{}};
  const auto expanded = expand_image_marks(pieces, groups, short_config(PlaceholderLayout::kNew, false));
  ASSERT_EQ(expanded.size(), 2u);
  EXPECT_EQ(expanded[0].text, "see " + kMark.text);
  EXPECT_FALSE(expanded[0].control);
  EXPECT_TRUE(expanded[1].control);
}

std::string expand_error(std::vector<PromptPiece> pieces, std::vector<MediaGroup> groups) {
  try {
    (void)expand(std::move(pieces), std::move(groups));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(ExpandImageMarks, CountsMustAgree) {
  EXPECT_THAT(expand_error({{"text", true}}, {{}}), HasSubstr("0 image marks for 1 pictures"));
  EXPECT_THAT(expand_error({kMark, kMark}, {{}}), HasSubstr("2 image marks for 1 pictures"));
  EXPECT_THAT(expand_error({kMark}, {{2, {}}}), HasSubstr("1 image marks for 2 pictures"));
  EXPECT_THAT(expand_error({kMark}, {{0, {}}}), HasSubstr("a pack of 0 frames"));
  EXPECT_EQ(expand({{"text", true}}, {}), "text");
}

}  // namespace
}  // namespace minicpm
