// A sequence that stays in the cache between calls and grows piece by piece: what live sessions are made of.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/chat.h"
#include "engine/scheduler.h"

namespace minicpm {

/// Not for several threads at once; several streams, and Engine::chat beside them, are.
class TokenStream {
 public:
  virtual ~TokenStream() = default;

  /// Computes `piece` behind what is there; its media's spans count from the piece's first token. Throws Error
  /// out_of_memory when it does not fit the context, cancelled.
  virtual void append(const ModelInput& piece, const std::atomic<bool>* cancel = nullptr) = 0;

  /// The language model's state behind the last appended token [hidden], after the last norm.
  virtual std::span<const float> last_hidden() const = 0;

  /// Answers from the last appended token on. Each id goes to `on_token`, which ends the answer by returning true; a
  /// stop id ends it, too, and is not part of the sequence. The last id of an answer is appended but computed only with
  /// what follows it.
  virtual FinishReason generate(const SamplingParams& params, const std::function<bool(int32_t)>& on_token,
                                const std::atomic<bool>* cancel = nullptr) = 0;

  /// Tokens so far.
  virtual int64_t size() const = 0;

  /// Takes tokens [first, first + count) out, with the media whose spans lie there. What stood behind them moves down
  /// and is computed again, media from their kept rows; `first + count == size()` costs nothing.
  virtual void erase(int64_t first, int64_t count) = 0;
};

class StepLoop;

/// A stream whose steps `loop` makes over `scheduler`; both must outlive it. `context`: tokens at most.
std::unique_ptr<TokenStream> make_token_stream(StepLoop& loop, Scheduler& scheduler, int64_t context);

}  // namespace minicpm
