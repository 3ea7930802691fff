#include "text/grammar.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr size_t kMostRules = 200'000;
constexpr size_t kMostStates = 50'000;
constexpr size_t kMostItems = 1'000'000;
constexpr int32_t kUnknown = -2;
constexpr int32_t kComplete = -1;  // parent of the start rule

}  // namespace

// ---- building ------------------------------------------------------------------------------------------------------

Grammar::Rule Grammar::add(std::vector<Alternative> alternatives) {
  if (rules_.size() >= kMostRules) fail(ErrorCode::kInvalidRequest, "the grammar has more than {} rules", kMostRules);
  rules_.push_back(std::move(alternatives));
  return static_cast<Rule>(rules_.size()) - 1;
}

int32_t Grammar::add_set(const ByteSet& set) {
  const auto found = std::ranges::find(sets_, set);
  if (found != sets_.end()) return static_cast<int32_t>(found - sets_.begin());
  sets_.push_back(set);
  return static_cast<int32_t>(sets_.size()) - 1;
}

Grammar::Rule Grammar::bytes(const ByteSet& set) {
  return add({{{true, add_set(set)}}});
}

Grammar::Rule Grammar::literal(std::string_view text) {
  Alternative symbols;
  for (const char c : text) {
    ByteSet set;
    set.set(static_cast<uint8_t>(c));
    symbols.push_back({true, add_set(set)});
  }
  return add({std::move(symbols)});
}

Grammar::Rule Grammar::sequence(std::vector<Rule> parts) {
  Alternative symbols;
  for (const Rule part : parts)
    symbols.push_back({false, part});
  return add({std::move(symbols)});
}

Grammar::Rule Grammar::choice(std::vector<Rule> parts) {
  std::vector<Alternative> alternatives;
  for (const Rule part : parts)
    alternatives.push_back({{false, part}});
  return add(std::move(alternatives));
}

Grammar::Rule Grammar::optional(Rule part) {
  return add({{{false, part}}, {}});
}

Grammar::Rule Grammar::star(Rule part) {
  const Rule rule = declare();
  rules_[static_cast<size_t>(rule)] = {{{false, part}, {false, rule}}, {}};
  return rule;
}

Grammar::Rule Grammar::repeat(Rule part, int64_t min, int64_t max) {
  if (max > static_cast<int64_t>(kMostRules)) {
    fail(ErrorCode::kInvalidRequest, "up to {} repetitions make the grammar too large", max);
  }
  Rule rest = add({{}});
  for (int64_t i = max; i > min; --i)
    rest = optional(sequence({part, rest}));
  Alternative symbols(static_cast<size_t>(std::max<int64_t>(min, 0)), Symbol{false, part});
  symbols.push_back({false, rest});
  return add({std::move(symbols)});
}

Grammar::Rule Grammar::declare() {
  return add({});
}

void Grammar::define(Rule rule, Rule meaning) {
  rules_[static_cast<size_t>(rule)] = {{{false, meaning}}};
}

// ---- matching ------------------------------------------------------------------------------------------------------

/// Collects the items before a byte set that can be reached without reading one.
class GrammarMatcher::Closure {
 public:
  explicit Closure(GrammarMatcher& matcher) : matcher_(&matcher) {}

  void begin_rule(int32_t rule, int32_t parent) {
    const auto count = static_cast<int32_t>(matcher_->grammar_->alternatives(rule).size());
    for (int32_t a = 0; a < count; ++a)
      pending_.push_back({rule, a, 0, parent});
  }
  void add(const Item& item) { pending_.push_back(item); }

  State finish() {
    while (!pending_.empty()) {
      const Item item = pending_.back();
      pending_.pop_back();
      if (seen_.insert(item).second) follow(item);
    }
    std::ranges::sort(items_);
    return matcher_->intern(std::move(items_), accepts_);
  }

 private:
  void follow(const Item& item) {
    const auto& alternative = matcher_->grammar_->alternatives(item.rule)[static_cast<size_t>(item.alternative)];
    if (item.position == static_cast<int32_t>(alternative.size())) {
      if (item.parent == kComplete) {
        accepts_ = true;
      } else {
        pending_.push_back(matcher_->items_[static_cast<size_t>(item.parent)]);
      }
      return;
    }
    const Grammar::Symbol symbol = alternative[static_cast<size_t>(item.position)];
    if (symbol.terminal) {
      items_.push_back(matcher_->intern(item));
      return;
    }
    // A rule at the end of another goes on where that one would: repetitions do not pile up.
    const bool last = item.position + 1 == static_cast<int32_t>(alternative.size());
    const int32_t parent =
        last ? item.parent : matcher_->intern({item.rule, item.alternative, item.position + 1, item.parent});
    begin_rule(symbol.index, parent);
  }

  GrammarMatcher* matcher_;
  std::vector<Item> pending_;
  std::set<Item> seen_;
  std::vector<int32_t> items_;
  bool accepts_ = false;
};

GrammarMatcher::GrammarMatcher(const Grammar& grammar) : grammar_(&grammar) {
  Closure closure(*this);
  closure.begin_rule(grammar.start(), kComplete);
  start_ = closure.finish();
}

int32_t GrammarMatcher::intern(const Item& item) {
  const auto [place, is_new] = item_ids_.try_emplace(item, static_cast<int32_t>(items_.size()));
  if (is_new) {
    if (items_.size() >= kMostItems) fail(ErrorCode::kInvalidRequest, "the answer's structure is nested too deeply");
    items_.push_back(item);
  }
  return place->second;
}

GrammarMatcher::State GrammarMatcher::intern(std::vector<int32_t> items, bool accepts) {
  if (items.empty() && !accepts) return kDead;
  const auto [place, is_new] = state_ids_.try_emplace({items, accepts}, static_cast<State>(states_.size()));
  if (is_new) {
    if (states_.size() >= kMostStates) fail(ErrorCode::kInvalidRequest, "the answer's structure has too many states");
    states_.push_back({std::move(items), accepts, {}});
    states_.back().next.fill(kUnknown);
  }
  return place->second;
}

GrammarMatcher::State GrammarMatcher::next(State state, uint8_t byte) {
  if (state == kDead) return kDead;
  const State known = states_[static_cast<size_t>(state)].next[byte];
  if (known != kUnknown) return known;
  Closure closure(*this);
  for (const int32_t id : states_[static_cast<size_t>(state)].items) {
    Item item = items_[static_cast<size_t>(id)];
    const auto& alternative = grammar_->alternatives(item.rule)[static_cast<size_t>(item.alternative)];
    if (!grammar_->set(alternative[static_cast<size_t>(item.position)].index).test(byte)) continue;
    ++item.position;
    closure.add(item);
  }
  const State result = closure.finish();
  states_[static_cast<size_t>(state)].next[byte] = result;
  return result;
}

GrammarMatcher::State GrammarMatcher::next(State state, std::string_view bytes) {
  for (const char c : bytes)
    state = next(state, static_cast<uint8_t>(c));
  return state;
}

}  // namespace minicpm
