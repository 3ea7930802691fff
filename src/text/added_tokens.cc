#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

constexpr size_t kMaxAddedTokenBytes =
    256;  // real ones have some tens; the search costs this much per position at most

/// Letters, marks, decimal digits and connector punctuation, as in the \w of regular expressions.
bool is_word_character(uint32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

/// The start of the character that ends before `at`; bytes that belong to no valid character count one by one.
Utf8Step step_before(std::string_view text, size_t at) {
  for (size_t length = 1; length <= 4 && length <= at; ++length) {
    const Utf8Step step = next_utf8(text.substr(at - length, length));
    if (step.kind == Utf8Step::Kind::kValid && step.length == length) return step;
  }
  return {kReplacementCharacter, 1, Utf8Step::Kind::kInvalid};
}

}  // namespace

StringMatcher::StringMatcher(std::vector<std::string> strings) : index_(strings.size()) {
  std::iota(index_.begin(), index_.end(), size_t{0});
  std::sort(index_.begin(), index_.end(), [&](size_t a, size_t b) { return strings[a] < strings[b]; });
  sorted_.reserve(strings.size());
  for (const size_t i : index_)
    sorted_.push_back(std::move(strings[i]));
  for (size_t i = 0; i < sorted_.size(); ++i) {
    Range& range = ranges_[static_cast<uint8_t>(sorted_[i][0])];
    if (range.begin == range.end) range = {i, i};
    range.end = i + 1;
  }
}

void StringMatcher::match(std::string_view text, size_t at, const std::function<void(size_t, size_t)>& visit) const {
  // The strings that agree with the text so far form a range of the sorted list; each further byte narrows it.
  Range range = ranges_[static_cast<uint8_t>(text[at])];
  for (size_t depth = 1; range.begin < range.end; ++depth) {
    if (sorted_[range.begin].size() == depth) visit(index_[range.begin++], depth);
    if (at + depth >= text.size()) return;
    const auto byte = static_cast<uint8_t>(text[at + depth]);
    const auto first = sorted_.begin() + static_cast<ptrdiff_t>(range.begin);
    const auto last = sorted_.begin() + static_cast<ptrdiff_t>(range.end);
    const auto byte_at_depth = [depth](const std::string& s) { return static_cast<uint8_t>(s[depth]); };
    const auto begin = std::partition_point(first, last, [&](const auto& s) { return byte_at_depth(s) < byte; });
    const auto end = std::partition_point(begin, last, [&](const auto& s) { return byte_at_depth(s) == byte; });
    range = {static_cast<size_t>(begin - sorted_.begin()), static_cast<size_t>(end - sorted_.begin())};
  }
}

AddedTokenSet::AddedTokenSet(std::vector<AddedTokenRule> rules, const std::string& source) {
  std::stable_sort(rules.begin(), rules.end(), [](const auto& a, const auto& b) { return a.token.id < b.token.id; });
  std::unordered_map<std::string_view, int32_t> ids;
  for (const AddedTokenRule& rule : rules) {
    const AddedToken& token = rule.token;
    if (token.text.empty() || token.text.size() > kMaxAddedTokenBytes) {
      fail(ErrorCode::kBadFile, "{}: added token {} has {} bytes, expected 1 to {}", source, token.id,
           token.text.size(), kMaxAddedTokenBytes);
    }
    const auto [known, is_new] = ids.emplace(token.text, token.id);
    if (!is_new && known->second != token.id) {
      fail(ErrorCode::kBadFile, "{}: added token \"{}\" has two ids, {} and {}", source, token.text, known->second,
           token.id);
    }
    if (!is_new) continue;
    if (!rules_.empty() && rules_.back().token.id == token.id) {
      fail(ErrorCode::kBadFile, "{}: added token {} has two texts, \"{}\" and \"{}\"", source, token.id,
           rules_.back().token.text, token.text);
    }
    rules_.push_back(rule);
  }
  std::vector<std::string> texts;
  for (const AddedTokenRule& rule : rules_) {
    tokens_.push_back(rule.token);
    texts.push_back(rule.token.text);
  }
  matcher_ = StringMatcher(std::move(texts));
}

std::optional<AddedTokenSet::Match> AddedTokenSet::find(std::string_view text, size_t from,
                                                        const Filter& allowed) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!matcher_.may_start(text[at])) continue;
    const AddedTokenRule* best = nullptr;
    matcher_.match(text, at, [&](size_t i, size_t length) {
      const AddedTokenRule& rule = rules_[i];
      if (!allowed(rule.token, at, at + length)) return;
      if (rule.single_word && !is_single_word(text, at, at + length)) return;
      best = &rule;
    });
    if (best == nullptr) continue;
    Match match{at, at + best->token.text.size(), best->token.id};
    while (best->lstrip && match.begin > from) {
      const Utf8Step step = step_before(text, match.begin);
      if (!is_unicode_space(step.code_point)) break;
      match.begin -= step.length;
    }
    while (best->rstrip && match.end < text.size()) {
      const Utf8Step step = next_utf8(text.substr(match.end));
      if (!is_unicode_space(step.code_point)) break;
      match.end += step.length;
    }
    return match;
  }
  return std::nullopt;
}

bool AddedTokenSet::is_single_word(std::string_view text, size_t begin, size_t end) const {
  const bool joined_before = begin > 0 && is_word_character(step_before(text, begin).code_point);
  const bool joined_after = end < text.size() && is_word_character(next_utf8(text.substr(end)).code_point);
  return !joined_before && !joined_after;
}

const AddedToken* AddedTokenSet::by_id(int32_t id) const {
  const auto it = std::lower_bound(tokens_.begin(), tokens_.end(), id,
                                   [](const AddedToken& token, int32_t value) { return token.id < value; });
  return it != tokens_.end() && it->id == id ? &*it : nullptr;
}

const AddedToken* AddedTokenSet::by_text(std::string_view text) const {
  const AddedToken* found = nullptr;
  if (text.empty() || !matcher_.may_start(text[0])) return nullptr;
  matcher_.match(text, 0, [&](size_t i, size_t length) {
    if (length == text.size()) found = &tokens_[i];
  });
  return found;
}

}  // namespace minicpm
