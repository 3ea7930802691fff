// The inside of a live session: what its stages share, and the two that have a state worth a class.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "engine/omni_queue.h"
#include "engine/omni_session.h"

namespace minicpm {

using OmniClock = std::chrono::steady_clock;

inline double ms_between(OmniClock::time_point from, OmniClock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// ---- what goes through the queues ----------------------------------------------------------------------------------

/// What the user heard of an answer.
struct OmniCut {
  int64_t turn = 0;
  double share = 1;
};

struct OmniInput {
  enum class Kind { kSound, kPicture, kParts, kEndTurn, kAnswer, kKeep, kDrop, kCut, kConfigure, kFinish };
  Kind kind = Kind::kSound;
  OmniClock::time_point pushed;
  std::vector<float> samples;
  std::shared_ptr<const Image> picture;
  std::vector<ContentPart> parts;
  OmniCut cut;
  std::shared_ptr<const OmniConfig> config;
  EpochRef epoch;  // of what asks for an answer; null for what is heard, which belongs to no answer

  /// In samples; a picture counts as half a second, a byte of text as a sample, so that they are bounded, too.
  size_t weight() const {
    size_t weight = samples.size() + (kind == Kind::kPicture ? kAudioRate / 2 : 0);
    for (const ContentPart& part : parts) {
      weight += part.text.size() + part.images.size() * kAudioRate / 2;
      if (part.sound != nullptr) weight += part.sound->size();
    }
    return weight;
  }
};

/// What is known of a turn and its answer; each stage writes its own values before it hands on what ends the answer.
struct OmniTurn {
  int64_t number = 0;
  OmniClock::time_point ended;  // when its end was known
  OmniTimings timings;
  std::string text;
  FinishReason finish_reason = FinishReason::kCancelled;
};

struct OmniPiece {
  enum class Kind { kRole, kUnit, kAsk, kKeep, kDrop, kCut };
  Kind kind = Kind::kUnit;
  ModelInput input;  // kAsk: the last unit, maybe empty
  OmniCut cut;
  std::shared_ptr<const OmniConfig> config;
  std::shared_ptr<OmniTurn> turn;
  EpochRef asked;  // kAsk: the answer's epoch; the unit is to be kept when it is over
  EpochRef epoch;  // always null, therefore

  size_t weight() const { return 1; }
};

struct OmniWords {
  enum class Kind { kBegin, kText, kEnd };
  Kind kind = Kind::kText;
  EpochRef epoch;
  std::shared_ptr<OmniTurn> turn;
  std::vector<float> speaker;
  std::string text;

  size_t weight() const { return 1; }
};

struct OmniSound {
  EpochRef epoch;
  std::shared_ptr<OmniTurn> turn;
  std::vector<float> samples;
  bool last = false;

  size_t weight() const { return samples.size(); }
};

struct OmniOutput {
  EpochRef epoch;
  OmniEvent event;

  size_t weight() const { return event.samples.size(); }
};

// ---- what all stages see -------------------------------------------------------------------------------------------

/// Who speaks, and the one mechanism that ends answers.
class OmniShared {
 public:
  OmniShared();

  StageQueue<OmniInput> input;
  StageQueue<OmniPiece> pieces;
  StageQueue<OmniWords> words;
  StageQueue<OmniSound> sound;
  StageQueue<OmniOutput> output;

  EpochRef epoch() const;
  /// An answer begins; false if its epoch is over.
  bool begin_answer(const EpochRef& epoch, int64_t turn);
  /// True for the first call while the answer of that epoch is in progress: its end is the caller's to tell.
  bool end_answer(const EpochRef& epoch);
  bool answering() const;
  /// An answer is made, or `playback` and played.
  bool speaking(bool playback) const;
  void delivered(const EpochRef& epoch, int64_t samples);
  void played(int64_t samples);
  /// Until no answer is in progress (`playback`: or played), or the session is closed.
  void wait_for_silence(bool playback) const;

  void interrupt();
  /// Answers in progress are interrupted.
  void close(std::string reason);
  /// What has come out can still be taken.
  void finish();
  bool closed() const;
  std::string close_reason() const;

  void tell(OmniEvent event, EpochRef epoch = nullptr);
  void tell_error(const std::exception& error, int64_t turn);

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  EpochRef epoch_ = std::make_shared<Epoch>(1);
  EpochRef answering_;       // null: no answer is in progress
  int64_t answer_turn_ = 0;  // of the present or last answer
  int64_t unplayed_ = 0;     // samples that were given out and not reported as played
  bool mark_closed(std::string reason);
  void close_queues();

  bool closed_ = false;
  std::string reason_;
};

// ---- perceive ------------------------------------------------------------------------------------------------------

/// From samples and pictures to units of a second with their rows, and to ends of turns.
class OmniPerceiver {
 public:
  OmniPerceiver(OmniShared& shared, const Processor& processor, PieceEncoder& encoder,
                std::unique_ptr<VoiceDetector> detector, std::shared_ptr<const OmniConfig> config);
  void run();

 private:
  void take(OmniInput item);
  void begin(std::shared_ptr<const OmniConfig> config);
  void adjust(std::shared_ptr<const OmniConfig> config);
  void hear_parts(std::vector<ContentPart> parts);
  void keep_turn();
  void drop_turn();
  void pass_on(OmniPiece::Kind kind, OmniCut cut = {});
  /// The detector that is to be used, or null.
  TurnDetector* turns() { return turns_ && config_->detect_turns ? &*turns_ : nullptr; }
  const TurnDetector* turns() const { return turns_ && config_->detect_turns ? &*turns_ : nullptr; }
  void hear(std::span<const float> samples);
  void hear_step(std::span<const float> samples);
  void begin_turn();
  void turn_is_over();
  enum class Ask { kIfHeard, kAlways };
  void end_turn(const EpochRef& epoch, Ask ask = Ask::kIfHeard);
  void emit_rest();
  bool heard_something() const;
  bool can_be_heard(int64_t samples) const;
  bool hears_silence() const;
  void emit_full_units();
  void emit_unit(std::vector<float> sound);
  void emit_ask(const EpochRef& epoch);
  OmniPiece make_piece(std::vector<float> sound, bool last);
  ModelInput prepare(std::shared_ptr<const Image> picture, int slices, const std::vector<float>& sound);
  OmniClock::time_point deadline() const;
  bool time_out();

  OmniShared& shared_;
  const Processor& processor_;
  PieceEncoder& encoder_;
  std::shared_ptr<const OmniConfig> config_;
  std::optional<TurnDetector> turns_;
  std::vector<float> unit_;                              // of the present second
  std::vector<float> lead_;                              // the last second of what was heard during an answer
  std::shared_ptr<const Image> picture_, last_picture_;  // not yet in a unit; the last one that was
  std::shared_ptr<OmniTurn> turn_ = std::make_shared<OmniTurn>();
  int64_t turn_number_ = 0;
  int64_t heard_ = 0;       // samples
  int64_t kept_units_ = 0;  // of the turn, which are not dropped
  OmniClock::time_point last_input_, last_pushed_;
};

// ---- think ---------------------------------------------------------------------------------------------------------

/// Puts pieces into the stream with the marks between them, forgets the oldest where the context is full, and answers.
class OmniThinker {
 public:
  OmniThinker(OmniShared& shared, const Processor& processor, TokenStream& stream, bool speaks);
  void run();

 private:
  struct Unit {
    int64_t first, count;  // tokens
  };
  struct Answer {
    int64_t turn = 0;
    int64_t first = 0, count = 0;  // tokens, the end of speech left out; none: there is no answer to cut
  };
  enum class State { kFresh, kInTurn, kAnswered, kBroken };

  void take(OmniPiece& piece);
  void begin(OmniPiece& piece);
  void answer(OmniPiece& piece);
  void generate(const EpochRef& epoch, const std::shared_ptr<OmniTurn>& turn);
  std::span<const int32_t> turn_mark() const;
  void append(const ModelInput& piece, std::span<const int32_t> tail);
  void append_whole(const ModelInput& whole);
  void make_room(int64_t tokens);
  void forget(int64_t first, int64_t count);
  void move_places(int64_t first, int64_t count);
  void keep();
  void drop();
  void cut(const OmniCut& cut);
  int64_t reserve() const;

  OmniShared& shared_;
  const Tokenizer& tokenizer_;
  TokenStream& stream_;
  const bool speaks_;
  const std::vector<int32_t> opens_, follows_, interrupts_, answer_opens_, answer_begins_;
  const int32_t speech_end_;
  std::shared_ptr<const OmniConfig> config_;
  State state_ = State::kFresh;
  int64_t role_tokens_ = 0;  // of the first message
  std::vector<Unit> units_;  // in the stream, oldest first
  int64_t kept_ = 0;         // tokens that drop() leaves
  State kept_state_ = State::kFresh;
  Answer last_;
};

// ---- speak and render ----------------------------------------------------------------------------------------------

void run_omni_speaker(OmniShared& shared, const VoiceMaker& make_voice);
void run_omni_renderer(OmniShared& shared);

}  // namespace minicpm
