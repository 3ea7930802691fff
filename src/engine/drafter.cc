#include "engine/drafter.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "models/loaded_model.h"

namespace minicpm {
namespace {

// Fewer equal tokens than this say little about the next one.
constexpr int64_t kLeastEqual = 2;
// More are not counted, so that a long repetition takes no time.
constexpr int64_t kMostEqual = 16;

}  // namespace

std::vector<int32_t> LookupDrafter::propose(std::span<const int32_t> tokens, int64_t most) {
  const auto size = static_cast<int64_t>(tokens.size());
  int64_t best = 0, longest = kLeastEqual - 1;  // `best` tokens stand before what followed
  for (int64_t end = size - 1; end > longest && longest < kMostEqual; --end) {
    int64_t equal = 0;
    while (equal < std::min(end, kMostEqual) && tokens[end - 1 - equal] == tokens[size - 1 - equal])
      ++equal;
    if (equal > longest) {
      best = end;
      longest = equal;
    }
  }
  std::vector<int32_t> guesses;
  if (best == 0) return guesses;
  for (int64_t i = 0; i < most; ++i)
    guesses.push_back(best + i < size ? tokens[best + i] : guesses[best + i - size]);
  return guesses;
}

ModelDrafter::ModelDrafter(std::unique_ptr<LoadedModel> model, Backend& backend, const Settings& settings)
    : model_(std::move(model)),
      context_(std::min(settings.context, model_->config().decoder.max_positions)),
      cache_(model_->config().decoder, settings.kv_type, context_),
      scheduler_(cache_, settings.prefill_chunk),
      runner_(*model_, backend, cache_, {.precision = settings.precision}),
      generator_(scheduler_, runner_, model_->config().decoder.vocab_size, {}) {
  scheduler_.add(sequence_);
}

ModelDrafter::~ModelDrafter() {
  scheduler_.remove(sequence_);
}

std::vector<int32_t> ModelDrafter::propose(std::span<const int32_t> tokens, int64_t most) {
  const int64_t vocab = model_->config().decoder.vocab_size, size = static_cast<int64_t>(tokens.size());
  most = std::min(most, context_ - size);
  if (most <= 0 || std::ranges::any_of(tokens, [&](int32_t id) { return id >= vocab; })) return {};

  const auto [own, other] = std::ranges::mismatch(sequence_.tokens, tokens);
  const int64_t common = own - sequence_.tokens.begin();
  scheduler_.truncate(sequence_, std::min(common, size - 1));  // one row must give logits
  sequence_.tokens.assign(tokens.begin(), tokens.end());
  std::span<const float> logits = *generator_.prefill(sequence_);
  std::vector<int32_t> guesses;
  for (;;) {
    guesses.push_back(static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin()));
    if (static_cast<int64_t>(guesses.size()) == most) return guesses;
    sequence_.tokens.push_back(guesses.back());
    logits = generator_.step().front().logits;
  }
}

std::vector<int32_t> DrafterList::propose(std::span<const int32_t> tokens, int64_t most) {
  for (const auto& drafter : drafters_) {
    std::vector<int32_t> guesses = drafter->propose(tokens, most);
    if (!guesses.empty()) return guesses;
  }
  return {};
}

int64_t DraftPace::next() {
  if (rest_ == 0) return reach_;
  --rest_;
  return 0;
}

void DraftPace::learn(int64_t drafted, int64_t accepted) {
  constexpr int kMostMisses = 4;  // at most 14 steps of rest, where a step with a guess takes a quarter longer
  reach_ = accepted == drafted ? std::min(2 * reach_, most_) : accepted + 1;
  misses_ = accepted > 0 ? 0 : std::min(misses_ + 1, kMostMisses);
  rest_ = misses_ == 0 ? 0 : (1 << misses_) - 2;
}

void check_same_vocabulary(const LoadedModel& model, const LoadedModel& draft, const std::string& draft_name) {
  const Tokenizer& a = *model.tokenizer();
  const Tokenizer& b = *draft.tokenizer();
  if (a.vocab_size() != b.vocab_size()) {
    fail(ErrorCode::kInvalidRequest, "{} cannot draft for this model: its vocabulary has {} tokens, not {}", draft_name,
         b.vocab_size(), a.vocab_size());
  }
  for (int32_t id = 0; id < a.vocab_size(); ++id) {
    if (a.token_bytes(id) == b.token_bytes(id) && a.is_special(id) == b.is_special(id)) continue;
    fail(ErrorCode::kInvalidRequest, "{} cannot draft for this model: token {} is \"{}\" in its vocabulary, not \"{}\"",
         draft_name, id, b.token_bytes(id), a.token_bytes(id));
  }
}

}  // namespace minicpm
