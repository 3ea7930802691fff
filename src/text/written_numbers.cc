#include "text/written_numbers.h"

#include <algorithm>

#include "text/utf8.h"

namespace minicpm {
namespace {

using Kind = WrittenNumber::Kind;

// clang-format off
constexpr QuantityName kMoney[] = {
    {"$", "dollar", "dollars", "美元", "cent", "cents"},
    {"€", "euro",   "euros",   "欧元", "cent", "cents"},
    {"£", "pound",  "pounds",  "英镑", "penny", "pence"},
    {"¥", "yuan",   "yuan",    "元",   "fen",  "fen"},
};
constexpr QuantityName kUnits[] = {
    {"km",   "kilometer",          "kilometers",          "公里",       "", ""},
    {"m",    "meter",              "meters",              "米",         "", ""},
    {"cm",   "centimeter",         "centimeters",         "厘米",       "", ""},
    {"mm",   "millimeter",         "millimeters",         "毫米",       "", ""},
    {"kg",   "kilogram",           "kilograms",           "公斤",       "", ""},
    {"g",    "gram",               "grams",               "克",         "", ""},
    {"mg",   "milligram",          "milligrams",          "毫克",       "", ""},
    {"l",    "liter",              "liters",              "升",         "", ""},
    {"L",    "liter",              "liters",              "升",         "", ""},
    {"ml",   "milliliter",         "milliliters",         "毫升",       "", ""},
    {"mL",   "milliliter",         "milliliters",         "毫升",       "", ""},
    {"km/h", "kilometer per hour", "kilometers per hour", "公里每小时", "", ""},
    {"m/s",  "meter per second",   "meters per second",   "米每秒",     "", ""},
    {"°C",   "degree Celsius",     "degrees Celsius",     "摄氏度",     "", ""},
    {"°F",   "degree Fahrenheit",  "degrees Fahrenheit",  "华氏度",     "", ""},
    {"°",    "degree",             "degrees",             "度",         "", ""},
    {"Hz",   "hertz",              "hertz",               "赫兹",       "", ""},
    {"kHz",  "kilohertz",          "kilohertz",           "千赫兹",     "", ""},
    {"MHz",  "megahertz",          "megahertz",           "兆赫兹",     "", ""},
    {"GHz",  "gigahertz",          "gigahertz",           "吉赫兹",     "", ""},
    {"KB",   "kilobyte",           "kilobytes",           "千字节",     "", ""},
    {"MB",   "megabyte",           "megabytes",           "兆字节",     "", ""},
    {"GB",   "gigabyte",           "gigabytes",           "吉字节",     "", ""},
    {"TB",   "terabyte",           "terabytes",           "太字节",     "", ""},
    {"ms",   "millisecond",        "milliseconds",        "毫秒",       "", ""},
    {"min",  "minute",             "minutes",             "分钟",       "", ""},
    {"h",    "hour",               "hours",               "小时",       "", ""},
    {"W",    "watt",               "watts",               "瓦",         "", ""},
    {"kW",   "kilowatt",           "kilowatts",           "千瓦",       "", ""},
    {"V",    "volt",               "volts",               "伏",         "", ""},
};
constexpr std::pair<std::string_view, std::string_view> kMagnitudes[] = {
    {"thousand", "千"}, {"million", "百万"}, {"billion", "十亿"}, {"trillion", "万亿"}};
// clang-format on

constexpr size_t kMostDigits = 18;  // of one number
constexpr size_t kLongestRow = 64;  // of digits and marks between them that is looked at as a whole
constexpr size_t kLongestUnit = 8;  // bytes

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

size_t digits_in(std::string_view text) {
  return std::min(text.find_first_not_of("0123456789"), text.size());
}

/// ",250" and the like, not followed by a digit.
bool is_group(std::string_view text) {
  return text.starts_with(',') && digits_in(text.substr(1)) == 3;
}

/// 10:30 or 10:30:15 at the beginning of `row`; its length, or 0.
size_t read_time(std::string_view row, WrittenNumber& number) {
  const size_t hours = digits_in(row);
  if (hours < 1 || hours > 2 || std::stoi(std::string(row.substr(0, hours))) > 24) return 0;
  size_t at = hours;
  std::vector<std::string> others;
  while (others.size() < 2 && at < row.size() && row[at] == ':' && digits_in(row.substr(at + 1)) == 2 &&
         row[at + 1] < '6') {
    others.emplace_back(row.substr(at + 1, 2));
    at += 3;
  }
  if (others.empty()) return 0;
  number.kind = Kind::kTime;
  number.whole = row.substr(0, hours);
  number.others = std::move(others);
  return at;
}

/// Digits with groups and a fraction, or several points; the length.
size_t read_digits(std::string_view row, WrittenNumber& number) {
  size_t at = digits_in(row);
  number.whole = row.substr(0, at);
  const bool grouped = at <= 3;
  while (grouped && number.whole.size() <= kMostDigits - 3 && is_group(row.substr(at))) {
    number.whole += row.substr(at + 1, 3);
    at += 4;
  }
  while (at + 1 < row.size() && row[at] == '.' && is_digit(row[at + 1])) {
    const size_t count = digits_in(row.substr(at + 1));
    number.others.emplace_back(row.substr(at + 1, count));
    at += 1 + count;
  }
  if (number.others.size() == 1) {
    number.fraction = std::move(number.others[0]);
    number.others.clear();
  }
  if (!number.others.empty()) number.kind = Kind::kVersion;
  return at;
}

/// Letters and signs that units are written with.
size_t unit_letters(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '%' || c == '/';
    const size_t length = letter ? 1 : text.substr(at).starts_with("°") ? 2 : 0;
    if (length == 0) break;
    at += length;
  }
  return at;
}

/// What stands behind the digits and belongs to them. False: it may go on.
bool read_suffix(std::string_view tail, bool last, WrittenNumber& number) {
  const size_t gap = tail.starts_with(' ') ? 1 : 0;
  const std::string_view word = tail.substr(gap);
  const size_t size = unit_letters(word);
  if (size == word.size() && size <= kLongestUnit && !last) return false;
  const std::string_view mark = word.substr(0, size);
  const bool plain = number.kind == Kind::kPlain;
  if (mark.starts_with('%') && plain) {
    number.kind = Kind::kPercent;
    number.length += gap + 1;
    return true;
  }
  const bool whole = plain && number.fraction.empty() && gap == 0 && number.money == nullptr;
  if (whole && (mark == "st" || mark == "nd" || mark == "rd" || mark == "th")) {
    number.kind = Kind::kOrdinal;
  } else if (whole && mark == "s" && (number.whole.size() == 4 || number.whole.size() == 2)) {
    number.kind = Kind::kDecade;
  } else if (number.money != nullptr) {
    const auto* found = std::ranges::find(kMagnitudes, mark, &std::pair<std::string_view, std::string_view>::first);
    if (gap == 0 || found == std::end(kMagnitudes)) return true;
    number.magnitude = found->first;
  } else if (plain) {
    const auto* found = std::ranges::find(kUnits, mark, &QuantityName::mark);
    if (found == std::end(kUnits)) return true;
    number.unit = found;
  } else {
    return true;
  }
  number.length += gap + size;
  return true;
}

std::string_view chinese_magnitude(std::string_view name) {
  const auto* found = std::ranges::find(kMagnitudes, name, &std::pair<std::string_view, std::string_view>::first);
  return found == std::end(kMagnitudes) ? std::string_view{} : found->second;
}

std::string plural(std::string word) {
  if (!word.ends_with('y')) return word + "s";
  word.pop_back();
  return word + "ies";
}

std::string english_time(const WrittenNumber& number) {
  constexpr auto kEnglish = SpokenLanguage::kEnglish;
  const auto value = [](const std::string& digits) { return digits.substr(digits.size() > 1 && digits[0] == '0'); };
  std::string text = cardinal_words(value(number.whole), kEnglish);
  const std::string& minutes = number.others[0];
  if (minutes == "00") {
    text += " o'clock";
  } else {
    text += (minutes[0] == '0' ? " oh " : " ") + cardinal_words(value(minutes), kEnglish);
  }
  if (number.others.size() < 2) return text;
  const std::string seconds = value(number.others[1]);
  return text + " and " + cardinal_words(seconds, kEnglish) + (seconds == "1" ? " second" : " seconds");
}

std::string english_money(const WrittenNumber& number, const std::string& amount) {
  constexpr auto kEnglish = SpokenLanguage::kEnglish;
  const QuantityName& money = *number.money;
  const std::string_view name = number.whole == "1" ? money.one : money.many;
  if (!number.magnitude.empty()) {
    return amount + " " + std::string(number.magnitude) + " " + std::string(money.many);
  }
  if (number.fraction.size() != 2) {
    return amount + " " + std::string(number.fraction.empty() ? name : money.many);
  }
  const std::string whole = cardinal_words(number.whole, kEnglish) + " " + std::string(name);
  if (number.fraction == "00") return whole;
  const std::string cents = number.fraction.substr(number.fraction[0] == '0');
  const std::string part = cardinal_words(cents, kEnglish) + " " + std::string(cents == "1" ? money.part : money.parts);
  return number.whole == "0" ? part : whole + " and " + part;
}

std::string english_words(const WrittenNumber& number, bool year) {
  constexpr auto kEnglish = SpokenLanguage::kEnglish;
  if (number.kind == Kind::kTime) return english_time(number);
  if (number.kind == Kind::kOrdinal) return ordinal_words(number.whole, kEnglish);
  const bool four = number.whole.size() == 4;
  if (number.kind == Kind::kDecade) {
    return plural(four ? year_words(number.whole, kEnglish) : cardinal_words(number.whole, kEnglish));
  }
  std::string amount = cardinal_words(number.whole, kEnglish);
  const bool in_range = number.whole >= "1100" && number.whole <= "2099";
  if (year && four && in_range && number.kind == Kind::kPlain && number.fraction.empty() && number.unit == nullptr) {
    amount = year_words(number.whole, kEnglish);
  }
  for (const std::string& part : number.others)
    amount += " point " + cardinal_words(part, kEnglish);
  if (!number.fraction.empty()) amount += " point " + digit_words(number.fraction, kEnglish);
  if (number.kind == Kind::kPercent) amount += " percent";
  if (number.money != nullptr) amount = english_money(number, amount);
  if (number.unit != nullptr) {
    const bool one = number.whole == "1" && number.fraction.empty();
    amount += " " + std::string(one ? number.unit->one : number.unit->many);
  }
  return amount;
}

/// Two of something is 两, not 二, before these.
bool is_measure_word(uint32_t character) {
  constexpr std::u32string_view kMeasureWords = U"个只条张本位件次天年块杯家种台辆岁周";
  return kMeasureWords.find(static_cast<char32_t>(character)) != std::u32string_view::npos;
}

std::string chinese_words(const WrittenNumber& number, bool year) {
  constexpr auto kChinese = SpokenLanguage::kChinese;
  if (number.kind == Kind::kOrdinal) return ordinal_words(number.whole, kChinese);
  if (number.kind == Kind::kTime) {
    const auto value = [](const std::string& digits) { return digits.substr(digits.size() > 1 && digits[0] == '0'); };
    std::string text = cardinal_words(value(number.whole), kChinese) + "点";
    if (number.others[0] != "00") {
      text += (number.others[0][0] == '0' ? "零" : "") + cardinal_words(value(number.others[0]), kChinese) + "分";
    }
    if (number.others.size() > 1) text += cardinal_words(value(number.others[1]), kChinese) + "秒";
    return text;
  }
  std::string amount = cardinal_words(number.whole, kChinese);
  const bool plain = number.kind == Kind::kPlain && number.fraction.empty() && number.unit == nullptr;
  if (plain && number.whole.size() == 4 && (year || number.next == U'年')) {
    amount = digit_words(number.whole, kChinese);
  } else if (plain && number.money == nullptr && number.whole == "2" && is_measure_word(number.next)) {
    amount = "两";
  }
  std::string fraction = number.fraction;
  if (number.money != nullptr) fraction.resize(fraction.find_last_not_of('0') + 1);  // 0 where there are only zeros
  if (!fraction.empty()) amount += "点" + digit_words(fraction, kChinese);
  for (const std::string& part : number.others)
    amount += "点" + cardinal_words(part, kChinese);
  if (number.kind == Kind::kPercent) return "百分之" + amount;
  if (number.kind == Kind::kDecade) return amount + "年代";
  if (number.money != nullptr) {
    amount += chinese_magnitude(number.magnitude);
    if (number.next != U'元') amount += number.money->chinese;
  }
  if (number.unit != nullptr) amount += number.unit->chinese;
  return amount;
}

}  // namespace

const QuantityName* money_mark(std::string_view text) {
  for (const QuantityName& money : kMoney) {
    if (text.starts_with(money.mark)) return &money;
  }
  return nullptr;
}

std::optional<WrittenNumber> read_number(std::string_view text, bool last, const QuantityName* money) {
  WrittenNumber number;
  number.money = money;
  if (digits_in(text.substr(0, kMostDigits + 1)) > kMostDigits) {
    number.kind = Kind::kLong;
    number.whole = text.substr(0, 1);
    number.length = 1;
    return number;
  }
  std::string_view row = text.substr(0, kLongestRow + 1);
  row = row.substr(0, row.find_first_not_of("0123456789.,:"));
  if (row.size() > kLongestRow) {
    row = row.substr(0, digits_in(row));
  } else if (row.size() == text.size() && !last) {
    return std::nullopt;
  }
  number.length = money == nullptr ? read_time(row, number) : 0;
  if (number.length == 0) number.length = read_digits(row, number);
  const std::string_view tail = text.substr(number.length);
  if (number.length == row.size() && !read_suffix(tail, last, number)) return std::nullopt;
  if (number.length < text.size()) number.next = next_utf8(text.substr(number.length)).code_point;
  return number;
}

std::string number_words(const WrittenNumber& number, const NumberStyle& style) {
  const bool chinese = style.language == SpokenLanguage::kChinese;
  const std::string words = chinese ? chinese_words(number, style.year) : english_words(number, style.year);
  if (!number.negative) return words;
  return (chinese ? "负" : "minus ") + words;
}

}  // namespace minicpm
