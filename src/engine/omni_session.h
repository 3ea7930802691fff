// Live sessions with MiniCPM-o 2.6: sound and pictures in as they come, text and speech out, interruption at any time.
// The command line and servers are clients of this.
//
// Four stages work at the same time, each on a thread of its own, with bounded queues between them: perceive (turns,
// units of a second, encoders), think (language model), speak (speech decoder), render (pieces of sound for the
// client). An interruption ends the epoch; every stage drops what belongs to an epoch that is over.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/omni_prompt.h"
#include "engine/processor.h"
#include "engine/sampler.h"
#include "engine/speech.h"
#include "engine/token_stream.h"
#include "engine/turn_detector.h"

namespace minicpm {

// ---- what a session is made of -------------------------------------------------------------------------------------

/// Computes the rows of a piece's pictures and sounds ahead of the language model.
class PieceEncoder {
 public:
  virtual ~PieceEncoder() = default;
  /// The piece with `rows` in its media. Each sound sees those before it, up to restart().
  virtual ModelInput encode(const ModelInput& piece) = 0;
  virtual void restart() = 0;
};

/// Speaks one answer while it is written. May call what it gives its sound to from any of its functions.
class AnswerVoice {
 public:
  virtual ~AnswerVoice() = default;
  virtual void push(std::string_view text) = 0;
  virtual void finish() = 0;
};
/// Makes the voice of an answer from the language model's hidden state at the speaker token. The flag, set, ends
/// push() and finish() soon, by Error cancelled or without.
using VoiceMaker = std::function<std::unique_ptr<AnswerVoice>(std::vector<float> speaker,
                                                              std::function<void(std::span<const float>)> on_samples,
                                                              const std::atomic<bool>* cancel)>;

struct OmniParts {
  const Processor* processor = nullptr;  // outlives the session
  std::unique_ptr<TokenStream> stream;
  std::unique_ptr<PieceEncoder> encoder;
  VoiceMaker voice;                         // empty: answers are text only
  std::unique_ptr<VoiceDetector> detector;  // null: turns end by end_turn() alone
};

// ---- settings ------------------------------------------------------------------------------------------------------

/// What happens to sound that comes while an answer is made or played.
enum class WhileAnswering {
  kListen,  // it is heard; speech interrupts the answer
  kIgnore,  // it is dropped, as the official demonstration does: for loudspeakers beside the microphone
  kWait,    // it waits for the end of the answer: for files that are played faster than time passes
};

enum class WhenFull {
  kSlide,  // the oldest seconds and answers are forgotten; the first message stays
  kReset,  // everything but the first message is forgotten, as in the official demonstration
};

struct OmniConfig {
  OmniRole role;
  bool hd = false;    // the last picture of a turn is also looked at in slices
  int hd_slices = 6;  // at most
  /// Sound without speech goes into the conversation, too, as the official demonstration does it. Unset: with pictures.
  std::optional<bool> hear_silence;

  WhileAnswering while_answering = WhileAnswering::kListen;
  TurnParams turns;
  double gap_seconds = 3;         // without input for so long, a turn ends; only with a detector
  double idle_seconds = 900;      // and after so long, the session
  bool reports_playback = false;  // the client calls played()
  bool detect_turns = true;       // where there is a detector; else turns end by end_turn() alone
  bool answer_turns = true;       // a turn whose end was heard is answered; else it waits for end_turn()
  bool speak = true;              // where there is a voice; else answers are text only

  int64_t context_limit = 8192;  // tokens
  double slide_to = 0.75;        // share of the limit that is left when old seconds are forgotten
  WhenFull when_full = WhenFull::kSlide;
  SamplingParams sampling;  // max_tokens: of an answer
};

/// Throws Error invalid_request naming the value and its range.
void validate(const OmniConfig& config);

// ---- what comes out ------------------------------------------------------------------------------------------------

/// Milliseconds are of wall-clock time. The latencies of a turn count from the moment its end was known.
struct OmniTimings {
  // The way of the turn's last second to the first sound of the answer.
  double capture_ms = 0;      // from its last samples to the whole unit: waiting for the stage to be free
  double encode_ms = 0;       // pictures and sound to rows
  double prefill_ms = 0;      // rows and the answer's head through the language model
  double first_text_ms = 0;   // from the end of the turn
  double first_audio_ms = 0;  // likewise; 0: nothing was spoken
  double answer_ms = 0;       // until the last sound was ready
  // Whole turn.
  int64_t units = 0;
  double heard_seconds = 0, spoken_seconds = 0;
  double perceive_ms = 0, think_ms = 0, speak_ms = 0;  // work of the stages
  int64_t tokens = 0;                                  // of the answer
  int64_t context_tokens = 0;                          // in the stream at the end

  /// Work in relation to the time of the sound it was for; below 1 a stage keeps up.
  double perceive_factor() const { return heard_seconds > 0 ? perceive_ms / 1000 / heard_seconds : 0; }
  double speak_factor() const { return spoken_seconds > 0 ? speak_ms / 1000 / spoken_seconds : 0; }
};

struct OmniEvent {
  enum class Kind {
    kReady,       // the first message is in the context
    kTurnBegins,  // the user was heard to speak
    kTurnEnds,    // the user has finished; an answer follows
    kTurnHeard,   // the user has finished; no answer follows, see OmniConfig::answer_turns
    kText,        // of the answer
    kAudio,       // of the answer, 24 kHz mono
    kAnswerEnds,  // once for each answer, with its finish reason; kCancelled: interrupted
    kSilence,     // by an interruption: what was not played yet is void
    kForgotten,   // `count` tokens left the context
    kError,       // something could not be done; the session goes on unless kClosed follows
    kClosed,      // the last event; `text` says why: "closed", "finished", "idle" or "error"
  };
  Kind kind = Kind::kReady;
  int64_t turn = 0;  // from 1
  std::string text;  // kText, kAnswerEnds: the whole answer (empty if interrupted), kError: a sentence, kClosed
  std::vector<float> samples;
  FinishReason finish_reason = FinishReason::kStop;
  OmniTimings timings;  // kAnswerEnds, unless interrupted
  int64_t count = 0;
  int64_t position = 0;  // of what was heard, in samples: where speech begins (kTurnBegins), up to where (its end)
  ErrorCode error = ErrorCode::kInternal;
};
std::string_view name(OmniEvent::Kind kind);  // "ready", "turn_begins", ...

// ---- the session ---------------------------------------------------------------------------------------------------

/// All functions may be called from any thread.
class OmniSession {
 public:
  /// Throws Error invalid_request for settings out of range and where a part is missing.
  static std::unique_ptr<OmniSession> open(OmniParts parts, const OmniConfig& config);
  /// Closes and waits for the stages.
  virtual ~OmniSession() = default;

  /// The next samples, mono at 16 kHz. Samples that are no numbers count as silence, others are cut to -1 to 1. Waits
  /// while more than half a minute has not been looked at; false once the session is closed.
  virtual bool push_audio(std::span<const float> samples) = 0;
  /// What the camera sees now; the unit of the present second takes the last picture that came.
  virtual bool push_frame(std::shared_ptr<const Image> picture) = 0;
  /// Text, pictures and sounds of the user's turn as they are, behind what was heard before. Sounds are mono at 16 kHz
  /// and not searched for turns. What cannot be used is an error event.
  virtual bool push_parts(std::vector<ContentPart> parts) = 0;
  /// The user has finished. Without anything heard or seen since the last answer nothing happens.
  virtual bool end_turn() = 0;
  /// As end_turn(), but answers whatever was heard or seen.
  virtual bool answer() = 0;
  /// What has come since the last answer and the last keep_turn() is forgotten.
  virtual bool drop_turn() = 0;
  /// What has come so far stays in the turn, whatever drop_turn() does.
  virtual bool keep_turn() = 0;
  /// Forgets the end of the answer of that turn, where it is the last: the user heard only `share` of it, 0 to 1.
  virtual bool cut_answer(int64_t turn, double share) = 0;
  /// Nothing more comes: the turn is answered if there is one, and the session closes behind its answer.
  virtual bool finish() = 0;
  /// Ends the answer in progress: when this returns, next_event() gives nothing of it any more but its end. An answer
  /// that has not begun yet is not made, and the user's turn goes on.
  virtual void interrupt() = 0;
  /// Other settings from here on. With another role the session starts anew: what it heard is forgotten, an answer in
  /// progress interrupted.
  virtual bool configure(const OmniConfig& config) = 0;
  /// The client has played so many more samples of the present answer. Until all are played, the session counts as
  /// speaking; only with `reports_playback`.
  virtual void played(int64_t samples) = 0;

  /// The next event, or nothing after `wait` or once kClosed was given. Events that nobody takes hold the answer up
  /// after ten seconds of sound; sound and pictures of later turns then wait in push_audio and push_frame.
  virtual std::optional<OmniEvent> next_event(std::chrono::milliseconds wait) = 0;

  /// Ends the session; kClosed is still to be taken.
  virtual void close() = 0;
};

/// Rows through the towers of `model`, which outlives the encoder.
std::unique_ptr<PieceEncoder> make_piece_encoder(const LoadedModel& model, const BackendOptions& backend,
                                                 Precision precision);

}  // namespace minicpm
