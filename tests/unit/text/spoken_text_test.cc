#include "text/spoken_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>

namespace minicpm {
namespace {

constexpr auto kEnglish = SpokenLanguage::kEnglish;
constexpr auto kChinese = SpokenLanguage::kChinese;

TEST(SpokenNumbers, EnglishCardinals) {
  const std::pair<const char*, const char*> cases[] = {
      {"0", "zero"},
      {"7", "seven"},
      {"10", "ten"},
      {"13", "thirteen"},
      {"20", "twenty"},
      {"21", "twenty one"},
      {"99", "ninety nine"},
      {"100", "one hundred"},
      {"101", "one hundred one"},
      {"110", "one hundred ten"},
      {"999", "nine hundred ninety nine"},
      {"1000", "one thousand"},
      {"1001", "one thousand one"},
      {"12345", "twelve thousand three hundred forty five"},
      {"1000000", "one million"},
      {"1000000001", "one billion one"},
      {"2020000", "two million twenty thousand"},
      {"999999999999999999",
       "nine hundred ninety nine quadrillion nine hundred ninety nine trillion nine hundred ninety nine billion nine "
       "hundred ninety nine million nine hundred ninety nine thousand nine hundred ninety nine"},
      {"1000000000000000000",
       "one zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero "
       "zero"},
      {"007", "zero zero seven"}};
  for (const auto& [digits, words] : cases)
    EXPECT_EQ(cardinal_words(digits, kEnglish), words) << digits;
}

TEST(SpokenNumbers, ChineseCardinals) {
  const std::pair<const char*, const char*> cases[] = {{"0", "零"},
                                                       {"2", "二"},
                                                       {"10", "十"},
                                                       {"11", "十一"},
                                                       {"20", "二十"},
                                                       {"100", "一百"},
                                                       {"105", "一百零五"},
                                                       {"110", "一百一十"},
                                                       {"115", "一百一十五"},
                                                       {"1000", "一千"},
                                                       {"1005", "一千零五"},
                                                       {"1010", "一千零一十"},
                                                       {"1100", "一千一百"},
                                                       {"10000", "一万"},
                                                       {"10005", "一万零五"},
                                                       {"10500", "一万零五百"},
                                                       {"15000", "一万五千"},
                                                       {"100000", "十万"},
                                                       {"120000", "十二万"},
                                                       {"1000000", "一百万"},
                                                       {"10000000", "一千万"},
                                                       {"100000000", "一亿"},
                                                       {"100000001", "一亿零一"},
                                                       {"1010000000", "十亿一千万"},
                                                       {"1000100000", "十亿零一十万"},
                                                       {"1000000000000", "一万亿"},
                                                       {"10000000000000000", "一亿亿"},
                                                       {"03", "零三"}};
  for (const auto& [digits, words] : cases)
    EXPECT_EQ(cardinal_words(digits, kChinese), words) << digits;
}

TEST(SpokenNumbers, OrdinalsAndYears) {
  const std::pair<const char*, const char*> ordinals[] = {{"1", "first"},
                                                          {"2", "second"},
                                                          {"3", "third"},
                                                          {"5", "fifth"},
                                                          {"8", "eighth"},
                                                          {"9", "ninth"},
                                                          {"12", "twelfth"},
                                                          {"20", "twentieth"},
                                                          {"21", "twenty first"},
                                                          {"100", "one hundredth"},
                                                          {"111", "one hundred eleventh"}};
  for (const auto& [digits, words] : ordinals)
    EXPECT_EQ(ordinal_words(digits, kEnglish), words);
  EXPECT_EQ(ordinal_words("21", kChinese), "第二十一");
  const std::pair<const char*, const char*> years[] = {{"1066", "ten sixty six"},    {"1900", "nineteen hundred"},
                                                       {"1905", "nineteen oh five"}, {"1999", "nineteen ninety nine"},
                                                       {"2000", "two thousand"},     {"2005", "two thousand five"},
                                                       {"2010", "twenty ten"},       {"2024", "twenty twenty four"}};
  for (const auto& [digits, words] : years)
    EXPECT_EQ(year_words(digits, kEnglish), words);
  EXPECT_EQ(year_words("1999", kChinese), "一九九九");
}

TEST(SpokenText, English) {
  const std::pair<const char*, const char*> cases[] = {
      {"I have 25 apples.", "I have twenty five apples."},
      {"3.14", "three point one four"},
      {"It is 3.", "It is three."},
      {"0.5 or .5", "zero point five or .five"},
      {"1,250 people", "one thousand two hundred fifty people"},
      {"1,2,3", "one,two,three"},
      {"1234,567", "one thousand two hundred thirty four,five hundred sixty seven"},
      {"5%", "five percent"},
      {"12.5 % more", "twelve point five percent more"},
      {"-5 degrees", "minus five degrees"},
      {"5-3", "five-three"},
      {"It is \u22123\u00b0C", "It is minus three degrees Celsius"},
      {"5 km", "five kilometers"},
      {"1 km away", "one kilometer away"},
      {"1.0 km", "one point zero kilometers"},
      {"90km/h.", "ninety kilometers per hour."},
      {"5 kgs", "five kgs"},
      {"16GB of memory", "sixteen gigabytes of memory"},
      {"in 5 minutes", "in five minutes"},
      {"$5", "five dollars"},
      {"$1", "one dollar"},
      {"$3.50, please", "three dollars and fifty cents, please"},
      {"\u20ac0.99", "ninety nine cents"},
      {"\u00a35.01", "five pounds and one penny"},
      {"$2.5 million", "two point five million dollars"},
      {"-$4", "minus four dollars"},
      {"a $ sign", "a $ sign"},
      {"the 1st, 2nd and 21st", "the first, second and twenty first"},
      {"in 1999", "in nineteen ninety nine"},
      {"1999 people", "one thousand nine hundred ninety nine people"},
      {"in 3500 homes", "in three thousand five hundred homes"},
      {"On June 5, 1969, we", "On June five, nineteen sixty nine, we"},
      {"the 1990s", "the nineteen nineties"},
      {"the 80s", "the eighties"},
      {"at 10:30", "at ten thirty"},
      {"at 9:05:01!", "at nine oh five and one second!"},
      {"12:00", "twelve o'clock"},
      {"a 3:1 ratio", "a three:one ratio"},
      {"version 1.2.3", "version one point two point three"},
      {"agent 007", "agent zero zero seven"},
      {"MP3 and B2B", "MP three and B two B"},
      {"COVID-19", "COVID-nineteen"},
      {"2*3", "two three"},
      {"**bold** and `code`", "bold and code"},
      {"# Title\n## Part #1", " Title\n Part #one"},
      {"Hello! Really?! Yes\uff01", "Hello! Really?! Yes\uff01"},
      {"Great \U0001F600!", "Great !"},
      {"don\u2019t", "don't"},
      {"\uff11\uff12 \uff21", "twelve A"},
      {"12345678901234567890 x",
       "one two three four five six seven eight nine zero one two three four five six seven "
       "eight nine zero x"}};
  for (const auto& [text, words] : cases)
    EXPECT_EQ(spoken_text(text), words) << text;
}

TEST(SpokenText, Chinese) {
  const std::pair<const char*, const char*> cases[] = {{"我有25个苹果。", "我有二十五个苹果。"},
                                                       {"有2个人", "有两个人"},
                                                       {"2月", "二月"},
                                                       {"12个", "十二个"},
                                                       {"1999年", "一九九九年"},
                                                       {"增长了3.5%", "增长了百分之三点五"},
                                                       {"气温-5°C", "气温负五摄氏度"},
                                                       {"5 km远", "五公里远"},
                                                       {"￥12.50", "twelve yuan and fifty fen"},
                                                       {"花了￥12.50", "花了十二点五元"},
                                                       {"价格¥3.00元", "价格三元"},
                                                       {"10:30见", "十点三十分见"},
                                                       {"下午3:05", "下午三点零五分"},
                                                       {"第3名", "第三名"},
                                                       {"１２３个", "一百二十三个"},
                                                       {"我用 iPhone 15 拍照", "我用 iPhone fifteen 拍照"},
                                                       {"买3 apples", "买三 apples"}};
  for (const auto& [text, words] : cases)
    EXPECT_EQ(spoken_text(text), words) << text;
}

TEST(SpokenText, OptionsSetLanguageAndDigits) {
  EXPECT_EQ(spoken_text("25", {.language = kChinese}), "二十五");
  EXPECT_EQ(spoken_text("有25个", {.language = kEnglish}), "有twenty five个");
  const SpokenTextOptions digits{.digits = SpokenDigits::kOneByOne, .language = {}};
  EXPECT_EQ(spoken_text("I have 25 apples, 3.5 kg.", digits), "I have two five apples, three.five kg.");
  EXPECT_EQ(spoken_text("我有25个", digits), "我有二五个");
  EXPECT_EQ(spoken_text("$40", digits), "$four zero");
}

TEST(SpokenText, DoesNotDependOnThePieces) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string_view parts[] = {
      "25", "3.5", "%", " ", "kg", "$",    "-",    "你好", "年", "1999",  "in ",     ",",    "456",
      ".",  "\n",  "#", "*", "：", "\xE4", "\xFF", "st",   "😀",  "10:30", "million", "km/h", "123456789012345678901"};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (unsigned n = random() % 12; n > 0; --n)
      text += parts[random() % std::size(parts)];
    for (const auto digits : {SpokenDigits::kNumbers, SpokenDigits::kOneByOne}) {
      const SpokenTextOptions options{.digits = digits, .language = {}};
      const std::string whole = spoken_text(text, options);
      SpokenText bytes(options), pieces(options);
      std::string by_bytes, by_pieces;
      for (const char c : text)
        by_bytes += bytes.push(std::string_view(&c, 1));
      for (size_t at = 0; at < text.size();) {
        const size_t size = std::min<size_t>(1 + random() % 5, text.size() - at);
        by_pieces += pieces.push(std::string_view(text).substr(at, size));
        at += size;
      }
      EXPECT_EQ(by_bytes + bytes.finish(), whole) << text;
      EXPECT_EQ(by_pieces + pieces.finish(), whole) << text;
    }
  }
}

TEST(SpokenText, TextIsGivenAsSoonAsItIsCertain) {
  SpokenText spoken;
  EXPECT_EQ(spoken.push("Hello wor"), "Hello wor");
  EXPECT_EQ(spoken.push("ld 2"), "ld ");
  EXPECT_EQ(spoken.push("5"), "");
  EXPECT_EQ(spoken.push(" a"), "");  // a unit could begin so
  EXPECT_EQ(spoken.push("pples"), "");
  EXPECT_EQ(spoken.push(" x"), "twenty five apples x");
  // Long rows of digits do not wait for their end.
  SpokenText row;
  EXPECT_EQ(row.push(std::string(40, '1')).substr(0, 11), "one one one");
}

}  // namespace
}  // namespace minicpm
