#include "engine/speech_stream.h"

#include <algorithm>
#include <optional>
#include <random>

#include "base/error.h"
#include "engine/speech_check.h"
#include "models/cross_fade.h"
#include "text/speech_words.h"

namespace minicpm {
namespace {

constexpr int64_t kRoundFrames = 25;       // of one call of the official decoder
constexpr int64_t kFirstPossibleEnd = 10;  // frames of a round that cannot be the last
constexpr size_t kContextFrames = 4;       // decoded again before each part
// What a segment takes from the one before it.
constexpr size_t kCarriedFrames = 50, kCarriedTokens = 5;
constexpr int64_t kFewestPlaces = 12;  // for text: what is carried over, something new, and the end
constexpr int kMostRedraws = 3;        // of one round

/// Numbers that are the same with every standard library.
class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int32_t from(std::span<const float> probabilities) {
    double at = static_cast<double>(random_() >> 11) * 0x1p-53, total = 0;
    for (const float p : probabilities)
      total += p;
    at *= total;
    int32_t last = 0;
    for (size_t i = 0; i < probabilities.size(); ++i) {
      if (probabilities[i] <= 0) continue;
      last = static_cast<int32_t>(i);
      if (at < probabilities[i]) break;
      at -= probabilities[i];
    }
    return last;
  }

 private:
  std::mt19937_64 random_;
};

/// A part of the text that fits the places for it.
struct Segment {
  explicit Segment(const SpeechConfig& config) : cache(config) {}

  std::vector<int32_t> ids;  // of the places: start, speaker, text, and its end once the text is complete
  bool complete = false;
  size_t filled = 0;  // places
  SpeechCache cache;
  std::vector<CodeFrame> frames;  // those carried over first
  size_t carried_frames = 0;
  int64_t rounds = 0;
  bool ended = false;

  int64_t text_tokens() const { return static_cast<int64_t>(ids.size()) - 2 - (complete ? 1 : 0); }
};

class Stream : public SpeechStream {
 public:
  Stream(const SpeechParts& parts, std::span<const float> speaker, const SpeechOptions& options, SpeechPieces pieces,
         OnSamples on_samples, const std::atomic<bool>* cancel)
      : parts_(parts),
        config_(parts.decoder.config()),
        options_(options),
        pieces_(pieces),
        cancel_(cancel),
        words_(parts.tokenizer, options.text),
        draw_(options.seed),
        sound_(parts.dvae, parts.vocos, std::move(on_samples)) {
    Arena arena;
    Context ctx = context(arena);
    speaker_ = parts.decoder.speaker(ctx, speaker);
  }

  void push(std::string_view text) override {
    MINICPM_CHECK(!finished_);
    for (const SpeechWord& word : words_.push(text))
      add(word);
  }

  SpeechResult finish() override {
    MINICPM_CHECK(!finished_);
    for (const SpeechWord& word : words_.finish())
      add(word);
    finished_ = true;
    end_segment();
    sound_.flush();
    result_.samples = sound_.samples();
    return result_;
  }

 private:
  Context context(Arena& arena) { return {parts_.backend, arena, Precision::kExact, nullptr}; }

  /// Places for text, less the one for its end.
  int64_t most_tokens() const { return config_.reserved_text - 1; }

  void add(const SpeechWord& word) {
    std::span<const int32_t> rest = word.tokens;
    while (!rest.empty()) {
      if (!segment_) begin_segment();
      const auto room = static_cast<size_t>(most_tokens() - segment_->text_tokens());
      // A word is parted only if no segment has room for it.
      const bool fits_another = rest.size() + kCarriedTokens <= static_cast<size_t>(most_tokens());
      if (rest.size() > room && (room == 0 || fits_another)) {
        end_segment();
        continue;
      }
      const size_t count = std::min(room, rest.size());
      segment_->ids.insert(segment_->ids.end(), rest.begin(), rest.begin() + static_cast<ptrdiff_t>(count));
      rest = rest.subspan(count);
      while (segment_->text_tokens() >= config_.text_chunk * (segment_->rounds + 1))
        run_round(false);
    }
    if (segment_ && segment_->text_tokens() >= fewest_tokens_before(word.end)) end_segment();
  }

  /// From how many tokens on a segment ends at such a place. Sentences end segments from 120 of 300 tokens on, as in
  /// the official code; where none ends, commas and white space do, so that no word has to be parted.
  int64_t fewest_tokens_before(SpeechBreak end) const {
    const int64_t fifth = config_.reserved_text / 5;
    switch (end) {
      case SpeechBreak::kSentence:
        return 2 * fifth;
      case SpeechBreak::kComma:
        return 3 * fifth;
      case SpeechBreak::kSpace:
        return 4 * fifth;
      case SpeechBreak::kNone:
        break;
    }
    return most_tokens() + 1;
  }

  /// The next segment goes on from the last tokens and frames of the one before it.
  void begin_segment() {
    segment_.emplace(config_);
    Segment& s = *segment_;
    s.ids = {parts_.start_id, static_cast<int32_t>(config_.speaker_id)};
    ++result_.segments;
    if (last_frames_.size() <= kContextFrames) {
      sound_.flush();
      return;
    }
    check_cancelled();
    Arena arena;
    Context ctx = context(arena);
    s.ids.insert(s.ids.end(), last_tokens_.begin(), last_tokens_.end());
    s.frames = std::move(last_frames_);
    s.carried_frames = s.frames.size();
    parts_.decoder.prefill_text(ctx, s.cache, s.ids, 0, speaker_);
    parts_.decoder.prefill_audio(ctx, s.cache, std::span(s.frames).first(s.frames.size() - 1), s.text_tokens());
  }

  void end_segment() {
    if (!segment_) return;
    Segment& s = *segment_;
    const size_t tokens = std::min(kCarriedTokens, static_cast<size_t>(s.text_tokens()));
    last_tokens_.assign(s.ids.end() - static_cast<ptrdiff_t>(tokens), s.ids.end());
    do
      run_round(true);
    while (!s.ended && has_room());
    if (pieces_ == SpeechPieces::kSegments && s.frames.size() > s.carried_frames) {
      Arena arena;
      Context ctx = context(arena);
      sound_.add(sound_.decode(ctx, s.frames, s.carried_frames).wave, false);
    }
    result_.frames += static_cast<int64_t>(s.frames.size() - s.carried_frames);
    result_.cut_short = result_.cut_short || !s.ended;
    const size_t frames = std::min(kCarriedFrames, s.frames.size());
    last_frames_.assign(s.frames.end() - static_cast<ptrdiff_t>(frames), s.frames.end());
    segment_.reset();
  }

  int64_t most_frames() const { return std::min(options_.max_frames, config_.max_positions - config_.slots() - 1); }
  bool has_room() const { return static_cast<int64_t>(segment_->frames.size()) < most_frames(); }

  /// The next chunk of text into its places, and the next frames. `last`: all the text that is left, and its end.
  void run_round(bool last) {
    check_cancelled();
    Segment& s = *segment_;
    Arena arena;
    Context ctx = context(arena);
    if (last && !s.complete) {
      s.ids.push_back(static_cast<int32_t>(config_.text_end_id));
      s.complete = true;
    }
    const int64_t due = config_.text_chunk * (s.rounds + 1);
    const size_t begin = s.rounds == 0 ? 0 : s.filled;  // also over what was carried over
    const size_t end = s.complete ? s.ids.size() : static_cast<size_t>(2 + due);
    if (begin < end) {
      parts_.decoder.prefill_text(ctx, s.cache, std::span(s.ids).subspan(begin, end - begin),
                                  static_cast<int64_t>(begin), speaker_);
    }
    s.filled = end;
    ++s.rounds;
    make_frames(ctx, s.complete ? s.text_tokens() : due);
  }

  /// The frames of a round and, in a stream, their sound. Those that the check refuses are drawn again.
  void make_frames(Context& ctx, int64_t text_tokens) {
    Segment& s = *segment_;
    const size_t before = s.frames.size();
    const int64_t position = s.cache.position();
    const SpeechCheck checked = check_;
    SpeechSound::Part part;
    for (int redraws = 0;; ++redraws) {
      generate(ctx, text_tokens);
      if (s.frames.size() == before) return;
      if (options_.check || pieces_ == SpeechPieces::kRounds) part = sound_.decode(ctx, s.frames, before);
      if (!options_.check || accepts(part)) break;
      check_ = checked;
      if (redraws == kMostRedraws) {
        check_ = {};  // there is no better one: it counts from here
        break;
      }
      ++result_.redrawn;
      s.frames.resize(before);
      s.cache.rewind(position);
      s.ended = false;
    }
    const bool first = sound_.samples() == 0 && sound_.empty();
    if (pieces_ == SpeechPieces::kRounds) sound_.add(part.wave, options_.hold_first && first);
  }

  bool accepts(const SpeechSound::Part& part) {
    const int64_t frames = 2 * part.context;  // of the mel
    const auto samples = static_cast<size_t>(part.context) * part.wave.size() / static_cast<size_t>(part.frames);
    return check_.accepts(std::span(part.wave).subspan(samples), part.mel.slice(frames, part.mel.dim(0)));
  }

  /// Draws up to 25 frames. The speech ends with one that is not kept, and not while text is still to come.
  void generate(Context& ctx, int64_t text_tokens) {
    Segment& s = *segment_;
    const int64_t end = config_.end_code();
    for (int64_t i = 0; i < kRoundFrames && has_room(); ++i) {
      ArenaScope scratch(ctx.arena);
      const CodeFrame* previous = s.frames.empty() ? nullptr : &s.frames.back();
      const Tensor logits = parts_.decoder.step(ctx, s.cache, previous, text_tokens);
      CodeFrame frame;
      for (int q = 0; q < kCodebooks; ++q) {
        const auto row = std::span(logits.f32_row(q), static_cast<size_t>(logits.dim(1)));
        const int64_t banned = i < kFirstPossibleEnd || !s.complete ? end : -1;
        frame[static_cast<size_t>(q)] = draw_.from(code_probabilities(row, q, s.frames, options_.sampling, banned));
        s.ended = s.ended || frame[static_cast<size_t>(q)] == end;
      }
      if (s.ended) return;
      s.frames.push_back(frame);
    }
  }

  void check_cancelled() const {
    if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) {
      fail(ErrorCode::kCancelled, "speaking was cancelled");
    }
  }

  SpeechParts parts_;
  const SpeechConfig& config_;
  SpeechOptions options_;
  SpeechPieces pieces_;
  const std::atomic<bool>* cancel_;
  SpeechWords words_;
  Draw draw_;
  SpeechSound sound_;
  SpeechCheck check_;
  std::vector<float> speaker_;  // the vector for the speaker's place
  std::optional<Segment> segment_;
  std::vector<int32_t> last_tokens_;    // of the segment before
  std::vector<CodeFrame> last_frames_;  // likewise
  SpeechResult result_;
  bool finished_ = false;
};

}  // namespace

SpeechSound::Part SpeechSound::decode(Context& ctx, std::span<const CodeFrame> frames, size_t begin) const {
  Part part;
  const size_t context = std::min(begin, kContextFrames);
  const auto wanted = frames.subspan(begin - context);
  part.mel = dvae_.decode(ctx, wanted);
  part.wave = vocos_.decode(ctx, part.mel);
  part.context = static_cast<int64_t>(context);
  part.frames = static_cast<int64_t>(wanted.size());
  return part;
}

void SpeechSound::add(const std::vector<float>& wave, bool hold_all) {
  if (held_.empty()) {
    const size_t held = hold_all ? wave.size() : std::min(wave.size(), kSpeechOverlap);
    give(std::span(wave).first(wave.size() - held));
    held_.assign(wave.end() - static_cast<ptrdiff_t>(held), wave.end());
    return;
  }
  const std::vector<float> joined = cross_fade(held_, wave);
  give(std::span(joined).first(held_.size()));
  held_.assign(joined.begin() + static_cast<ptrdiff_t>(held_.size()), joined.end());
}

void SpeechSound::flush() {
  give(held_);
  held_.clear();
}

void SpeechSound::give(std::span<const float> samples) {
  if (samples.empty()) return;
  samples_ += static_cast<int64_t>(samples.size());
  on_samples_(samples);
}

std::unique_ptr<SpeechStream> make_speech_stream(const SpeechParts& parts, std::span<const float> speaker,
                                                 const SpeechOptions& options, SpeechPieces pieces,
                                                 OnSamples on_samples, const std::atomic<bool>* cancel) {
  const int64_t expected = parts.decoder.config().llm_dim;
  if (static_cast<int64_t>(speaker.size()) != expected) {
    fail(ErrorCode::kInvalidRequest, "a speaker's state has {} values, expected {}", speaker.size(), expected);
  }
  const int64_t reserved = parts.decoder.config().reserved_text;
  if (reserved < kFewestPlaces) {
    fail(ErrorCode::kUnsupported, "a speech decoder with {} places for text, expected at least {}", reserved,
         kFewestPlaces);
  }
  return std::make_unique<Stream>(parts, speaker, options, pieces, std::move(on_samples), cancel);
}

}  // namespace minicpm
