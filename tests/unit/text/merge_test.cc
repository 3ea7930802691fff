#include "text/merge.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace minicpm {
namespace {

/// Merges of strings by rank; ids are not used.
using Ranks = std::map<std::pair<std::string, std::string>, uint32_t>;

/// The definition: the leftmost pair of the lowest rank is joined, until no pair has a rank.
std::vector<std::string> reference(const std::string& word, const Ranks& ranks) {
  std::vector<std::string> parts;
  for (const char c : word)
    parts.emplace_back(1, c);
  for (;;) {
    size_t best = parts.size();
    uint32_t best_rank = UINT32_MAX;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = ranks.find({parts[i], parts[i + 1]});
      if (it != ranks.end() && it->second < best_rank) {
        best = i;
        best_rank = it->second;
      }
    }
    if (best == parts.size()) return parts;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

std::vector<std::string> merged(const std::string& word, const Ranks& ranks) {
  std::vector<MergeSymbol> symbols;
  for (uint32_t i = 0; i < word.size(); ++i)
    symbols.push_back({0, i, 1});
  merge_symbols(symbols, [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
    const auto it = ranks.find({word.substr(left.begin, left.length), word.substr(right.begin, right.length)});
    if (it == ranks.end()) return std::nullopt;
    return MergeCandidate{it->second, 0};
  });
  std::vector<std::string> parts;
  for (const MergeSymbol& symbol : symbols)
    parts.push_back(word.substr(symbol.begin, symbol.length));
  return parts;
}

TEST(MergeTest, AgreesWithTheDefinitionOnRandomVocabularies) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    Ranks ranks;
    for (uint32_t i = 0; i < 25; ++i) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      ranks[{left, right}] = i / 2;  // equal ranks: the leftmost pair first
      tokens.push_back(left + right);
    }
    for (const size_t length : {2, 3, 10, 32, 33, 100, 300}) {  // both sides of the change of algorithm
      std::string word;
      for (size_t i = 0; i < length; ++i)
        word += "abc"[random() % 3];
      ASSERT_EQ(merged(word, ranks), reference(word, ranks)) << word;
    }
  }
}

TEST(MergeTest, FrozenSymbolsStayAlone) {
  for (const size_t length : {5, 50}) {
    const std::string word(length, 'a');
    std::vector<MergeSymbol> symbols;
    for (uint32_t i = 0; i < length; ++i)
      symbols.push_back({0, i, 1, i == 2});
    merge_symbols(symbols, [](const MergeSymbol&, const MergeSymbol&) { return std::optional(MergeCandidate{0, 1}); });
    ASSERT_EQ(symbols.size(), 3u);
    EXPECT_EQ(symbols[0].length, 2u);
    EXPECT_EQ(symbols[1].length, 1u);
    EXPECT_EQ(symbols[2].length, length - 3);
  }
}

}  // namespace
}  // namespace minicpm
