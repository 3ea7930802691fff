// Context-free grammars over bytes, and a matcher that says after every byte which bytes may follow: what keeps an
// answer inside a JSON schema.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>
#include <vector>

namespace minicpm {

using ByteSet = std::bitset<256>;

/// Built bottom up: every function returns the number of a rule. Rules may refer to rules that are defined later.
class Grammar {
 public:
  using Rule = int32_t;

  Rule bytes(const ByteSet& set);          // one byte of the set
  Rule literal(std::string_view text);     // these bytes
  Rule sequence(std::vector<Rule> parts);  // one after another
  Rule choice(std::vector<Rule> parts);    // any one of them
  Rule optional(Rule part);                // it or nothing
  Rule star(Rule part);                    // any number of times
  /// `min` to `max` times. Throws Error invalid_request when that makes the grammar too large.
  Rule repeat(Rule part, int64_t min, int64_t max);
  /// A rule to be filled by define(), for recursion.
  Rule declare();
  void define(Rule rule, Rule meaning);

  void set_start(Rule rule) { start_ = rule; }
  Rule start() const { return start_; }

  struct Symbol {
    bool terminal;
    int32_t index;  // of a byte set, or a rule
  };
  using Alternative = std::vector<Symbol>;
  const std::vector<Alternative>& alternatives(Rule rule) const { return rules_[static_cast<size_t>(rule)]; }
  const ByteSet& set(int32_t index) const { return sets_[static_cast<size_t>(index)]; }

 private:
  Rule add(std::vector<Alternative> alternatives);
  int32_t add_set(const ByteSet& set);

  std::vector<std::vector<Alternative>> rules_;
  std::vector<ByteSet> sets_;
  Rule start_ = 0;
};

/// Follows a grammar byte by byte. States are numbered as they are met, and their transitions remembered, so that a
/// state that comes again (inside a string, say) costs a look into a table. One thread at a time.
class GrammarMatcher {
 public:
  using State = int32_t;
  static constexpr State kDead = -1;

  /// `grammar` must outlive the matcher.
  explicit GrammarMatcher(const Grammar& grammar);

  /// kDead if the grammar has no text at all.
  State start() const { return start_; }
  /// The state after one byte more, or kDead. Throws Error invalid_request when the states get too many.
  State next(State state, uint8_t byte);
  State next(State state, std::string_view bytes);
  /// The text so far may end here.
  bool accepts(State state) const { return states_[static_cast<size_t>(state)].accepts; }
  int64_t num_states() const { return static_cast<int64_t>(states_.size()); }

 private:
  /// A place in a rule, and where to go on when the rule is done (-1: nowhere, the text is complete).
  struct Item {
    int32_t rule, alternative, position, parent;
    auto operator<=>(const Item&) const = default;
  };
  struct StateData {
    std::vector<int32_t> items;  // sorted; each stands before a byte set
    bool accepts = false;
    std::array<State, 256> next;  // kUnknown: not followed yet
  };
  class Closure;
  int32_t intern(const Item& item);
  State intern(std::vector<int32_t> items, bool accepts);

  const Grammar* grammar_;
  State start_ = kDead;
  std::vector<Item> items_;
  std::map<Item, int32_t> item_ids_;
  std::vector<StateData> states_;
  std::map<std::pair<std::vector<int32_t>, bool>, State> state_ids_;
};

}  // namespace minicpm
