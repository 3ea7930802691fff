// Numbers as the words that one says for them, in English and Chinese.
#pragma once

#include <string>
#include <string_view>

namespace minicpm {

enum class SpokenLanguage { kEnglish, kChinese };

/// The digits one by one: "one zero", "一零". `digits` are '0' to '9'.
std::string digit_words(std::string_view digits, SpokenLanguage language);

/// The whole number: "ten", "十". Numbers of more than 18 digits, and those with zeros in front, digit by digit.
std::string cardinal_words(std::string_view digits, SpokenLanguage language);

/// "first", "twenty first"; 第二十一 in Chinese.
std::string ordinal_words(std::string_view digits, SpokenLanguage language);

/// A year of four digits: "nineteen oh five", "two thousand five", "twenty twenty four"; 一九零五 in Chinese.
std::string year_words(std::string_view digits, SpokenLanguage language);

}  // namespace minicpm
