// Keeps an answer inside a grammar: before each draw, ids that would lead out of it are taken away.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/grammar.h"
#include "text/tokenizer.h"

namespace minicpm {

/// The ordinary tokens of a vocabulary as a prefix tree of their bytes. Immutable.
class VocabularyTree {
 public:
  explicit VocabularyTree(const Tokenizer& tokenizer);

  struct Node {
    uint8_t byte;  // that leads here from the parent
    int32_t first_child, num_children;
    int32_t first_id, num_ids;  // tokens that end here
  };
  std::span<const Node> children(const Node& node) const {
    return {nodes_.data() + node.first_child, static_cast<size_t>(node.num_children)};
  }
  std::span<const int32_t> ids(const Node& node) const {
    return {ids_.data() + node.first_id, static_cast<size_t>(node.num_ids)};
  }
  const Node& root() const { return nodes_.front(); }
  int64_t vocab_size() const { return vocab_size_; }
  std::string_view bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }

 private:
  int64_t vocab_size_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;        // sorted by their bytes
  std::vector<std::string> bytes_;  // by id
};

/// Where in an answer the grammar's text stands.
struct ConstrainedPart {
  std::vector<int32_t> stop_ids;         // end the answer
  std::optional<int32_t> reasoning_end;  // everything goes before that id
  /// The grammar's text is not the whole answer but stands between these two ids; everything goes outside.
  struct Calls {
    int32_t begin, end;
    bool only = false;  // the answer is nothing but calls, one at least
    bool once = false;  // behind the first `end` the answer is over
  };
  std::optional<Calls> calls;
};

/// Of one answer.
class TokenConstraint {
 public:
  TokenConstraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const VocabularyTree> vocabulary,
                  ConstrainedPart part);

  /// Sets the logits of all ids that must not come now to -inf. What ends the grammar's text (a stop id, or the end of
  /// the call) may come where it may end.
  void apply(std::span<float> logits);
  /// `id` was drawn.
  void accept(int32_t id);

 private:
  using Mask = std::vector<bool>;
  /// kBegin: a call must come; kNext: another one behind a newline, or the end; kOver: the end.
  enum class Phase { kReasoning, kFree, kBegin, kNext, kGrammar, kOver };
  const Mask& mask();
  Phase first_phase() const;
  Phase behind_call() const;
  bool allowed_between(int32_t id) const;

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const VocabularyTree> vocabulary_;
  ConstrainedPart part_;
  Phase phase_;
  GrammarMatcher matcher_;
  GrammarMatcher::State state_;
  std::unordered_map<GrammarMatcher::State, Mask> masks_;
};

}  // namespace minicpm
