#include "engine/token_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/step_loop.h"

namespace minicpm {
namespace {

/// What is left of a media item whose rows are known.
std::shared_ptr<const MediaItem> places_of(const MediaItem& media, int64_t moved_by) {
  auto places = std::make_shared<MediaItem>();
  places->spans = media.spans;
  places->span_rows = media.span_rows;
  for (int64_t& span : places->spans)
    span += moved_by;
  return places;
}

class StreamImpl : public TokenStream {
 public:
  StreamImpl(StepLoop& loop, Scheduler& scheduler, int64_t context)
      : loop_(&loop), scheduler_(&scheduler), context_(context) {
    sequence_.priority = static_cast<int>(Priority::kLive);
  }
  ~StreamImpl() override { loop_->give_back(std::move(sequence_), StepLoop::After::kRelease); }

  void append(const ModelInput& piece, const std::atomic<bool>* cancel) override;
  std::span<const float> last_hidden() const override { return hidden_; }
  FinishReason generate(const SamplingParams& params, const std::function<bool(int32_t)>& on_token,
                        const std::atomic<bool>* cancel) override;
  int64_t size() const override { return static_cast<int64_t>(sequence_.tokens.size()); }
  void erase(int64_t first, int64_t count) override;

 private:
  StepLoop* loop_;
  Scheduler* scheduler_;
  int64_t context_;
  Sequence sequence_;
  std::vector<float> hidden_;
};

void StreamImpl::append(const ModelInput& piece, const std::atomic<bool>* cancel) {
  const int64_t base = size();
  if (base + static_cast<int64_t>(piece.tokens.size()) > context_) {
    fail(ErrorCode::kOutOfMemory, "{} tokens and {} more do not fit the context of {}; start with a larger one (-c)",
         base, piece.tokens.size(), context_);
  }
  if (piece.tokens.empty()) return;
  sequence_.tokens.insert(sequence_.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  for (const auto& media : piece.media) {
    auto moved = std::make_shared<MediaItem>(*media);
    for (int64_t& span : moved->spans)
      span += base;
    sequence_.media.push_back(std::move(moved));
    sequence_.media_rows.push_back(media->rows);  // null: encoded when the prefill comes to it
  }
  std::optional<PromptState> state = loop_->prefill(sequence_, cancel);
  if (!state) fail(ErrorCode::kCancelled, "cancelled while {} tokens were computed", piece.tokens.size());
  hidden_ = std::move(state->hidden);
  for (auto& media : sequence_.media)
    media = places_of(*media, 0);
}

FinishReason StreamImpl::generate(const SamplingParams& params, const std::function<bool(int32_t)>& on_token,
                                  const std::atomic<bool>* cancel) {
  if (size() == 0) fail(ErrorCode::kInvalidRequest, "there is nothing to answer");
  SamplingParams limited = params;
  limited.max_tokens = static_cast<int>(std::min<int64_t>(params.max_tokens, context_ - size()));
  if (limited.max_tokens < 1) {
    fail(ErrorCode::kOutOfMemory, "{} tokens leave no room for an answer in the context of {}", size(), context_);
  }
  sequence_.prompt_tokens = size();
  // The last token is computed again for its logits: a row, where keeping them would take the whole vocabulary.
  if (sequence_.pending() == 0) loop_->exclusively([&] { scheduler_->truncate(sequence_, size() - 1); });
  int64_t seen = 0;
  const auto count = [&](const SampledToken& token) {
    ++seen;
    return on_token(token.id);
  };
  const FinishReason reason = loop_->generate(sequence_, limited, {count, {}}, cancel);
  if (size() > sequence_.prompt_tokens + seen) erase(sequence_.prompt_tokens + seen, size());  // sampled, but not seen
  return reason;
}

void StreamImpl::erase(int64_t first, int64_t count) {
  const int64_t end = std::min(size(), first + count);
  if (first < 0 || first >= end) return;
  const auto inside = [&](int64_t position) { return position >= first && position < end; };
  for (const auto& media : sequence_.media) {
    const bool whole = inside(media->first()) && inside(media->end() - 1);
    if (!whole && media->first() < end && media->end() > first) {
      fail(ErrorCode::kInvalidRequest, "tokens {} to {} are a part of a picture or sound only", first, end);
    }
  }
  for (size_t m = sequence_.media.size(); m-- > 0;) {
    const MediaItem& media = *sequence_.media[m];
    if (inside(media.first())) {
      sequence_.media.erase(sequence_.media.begin() + static_cast<ptrdiff_t>(m));
      sequence_.media_rows.erase(sequence_.media_rows.begin() + static_cast<ptrdiff_t>(m));
    } else if (media.first() >= end) {
      sequence_.media[m] = places_of(media, first - end);
    }
  }
  sequence_.tokens.erase(sequence_.tokens.begin() + first, sequence_.tokens.begin() + end);
  loop_->exclusively([&] { scheduler_->truncate(sequence_, first); });
}

}  // namespace

std::unique_ptr<TokenStream> make_token_stream(StepLoop& loop, Scheduler& scheduler, int64_t context) {
  return std::make_unique<StreamImpl>(loop, scheduler, context);
}

}  // namespace minicpm
