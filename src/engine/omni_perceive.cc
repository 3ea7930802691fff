#include <algorithm>
#include <cmath>

#include "engine/omni_stages.h"

namespace minicpm {
namespace {

constexpr auto kUnitSamples = static_cast<size_t>(kAudioRate);  // a second

OmniClock::duration seconds(double count) {
  return std::chrono::duration_cast<OmniClock::duration>(std::chrono::duration<double>(count));
}

void keep_last(std::vector<float>& samples, size_t count) {
  if (samples.size() > count) samples.erase(samples.begin(), samples.end() - static_cast<ptrdiff_t>(count));
}

}  // namespace

OmniPerceiver::OmniPerceiver(OmniShared& shared, const Processor& processor, PieceEncoder& encoder,
                             std::unique_ptr<VoiceDetector> detector, std::shared_ptr<const OmniConfig> config)
    : shared_(shared), processor_(processor), encoder_(encoder), config_(std::move(config)) {
  if (detector != nullptr) turns_.emplace(std::move(detector), config_->turns);
}

void OmniPerceiver::run() {
  begin(config_);
  last_input_ = OmniClock::now();
  while (!shared_.closed()) {
    std::optional<OmniInput> item = shared_.input.pop(deadline());
    if (shared_.closed()) return;
    try {
      if (item) {
        take(std::move(*item));
        last_input_ = OmniClock::now();
      } else if (!time_out()) {
        return;
      }
    } catch (const std::exception& error) {
      shared_.tell_error(error, turn_number_);
    }
  }
}

// A turn that stops coming ends, and so does a session, but not while it speaks.
OmniClock::time_point OmniPerceiver::deadline() const {
  const bool in_turn = turns() != nullptr && turns()->in_turn();
  return last_input_ + seconds(in_turn ? std::min(config_->gap_seconds, config_->idle_seconds) : config_->idle_seconds);
}

bool OmniPerceiver::time_out() {
  const OmniClock::time_point now = OmniClock::now();
  if (now < deadline()) return true;
  if (shared_.speaking(config_->reports_playback)) {
    last_input_ = now;
    return true;
  }
  if (turns() != nullptr && turns()->in_turn()) {
    turn_is_over();
    return true;
  }
  shared_.close("idle");
  return false;
}

void OmniPerceiver::take(OmniInput item) {
  // What is left for the time after an answer waits here, and everything behind it in the queue.
  if (config_->while_answering == WhileAnswering::kWait) shared_.wait_for_silence(config_->reports_playback);
  last_pushed_ = item.pushed;
  switch (item.kind) {
    case OmniInput::Kind::kSound:
      hear(item.samples);
      break;
    case OmniInput::Kind::kPicture:
      picture_ = std::move(item.picture);
      break;
    case OmniInput::Kind::kParts:
      hear_parts(std::move(item.parts));
      break;
    case OmniInput::Kind::kEndTurn:
      end_turn(item.epoch);
      break;
    case OmniInput::Kind::kAnswer:
      end_turn(item.epoch, Ask::kAlways);
      break;
    case OmniInput::Kind::kKeep:
      if (hears_silence() || turns()->in_turn()) emit_rest();
      keep_turn();
      break;
    case OmniInput::Kind::kDrop:
      drop_turn();
      break;
    case OmniInput::Kind::kCut:
      pass_on(OmniPiece::Kind::kCut, item.cut);
      break;
    case OmniInput::Kind::kConfigure:
      adjust(std::move(item.config));
      break;
    case OmniInput::Kind::kFinish:
      end_turn(shared_.epoch());
      shared_.wait_for_silence(config_->reports_playback);
      shared_.finish();
      break;
  }
}

/// A new conversation: its first message goes ahead of everything.
void OmniPerceiver::begin(std::shared_ptr<const OmniConfig> config) {
  config_ = std::move(config);
  if (turns_) turns_->configure(config_->turns);
  unit_.clear();
  lead_.clear();
  picture_ = last_picture_ = nullptr;
  turn_ = std::make_shared<OmniTurn>();
  kept_units_ = 0;
  OmniPiece piece;
  piece.kind = OmniPiece::Kind::kRole;
  piece.config = config_;
  encoder_.restart();
  try {
    piece.input = encoder_.encode(processor_.prepare_piece(role_message(config_->role)));
  } catch (const std::exception& error) {
    shared_.tell_error(error, 0);
    shared_.close("error");
    return;
  }
  encoder_.restart();
  shared_.pieces.push(std::move(piece));
}

/// Other settings; the conversation goes on if its first message stays.
void OmniPerceiver::adjust(std::shared_ptr<const OmniConfig> config) {
  if (config->role != config_->role) return begin(std::move(config));
  const bool same = config->turns == config_->turns && config->detect_turns == config_->detect_turns;
  config_ = std::move(config);
  if (turns_ && !same) turns_->configure(config_->turns);
}

void OmniPerceiver::pass_on(OmniPiece::Kind kind, OmniCut cut) {
  OmniPiece piece;
  piece.kind = kind;
  piece.config = config_;
  piece.cut = cut;
  shared_.pieces.push(std::move(piece));
}

void OmniPerceiver::keep_turn() {
  kept_units_ = turn_->timings.units;
  pass_on(OmniPiece::Kind::kKeep);
}

void OmniPerceiver::drop_turn() {
  unit_.clear();
  lead_.clear();
  picture_ = nullptr;
  turn_->timings.units = kept_units_;
  if (turns_) turns_->set_in_turn(false);
  if (turns_) turns_->forget();
  encoder_.restart();
  pass_on(OmniPiece::Kind::kDrop);
}

/// What was heard and seen of the present second.
void OmniPerceiver::emit_rest() {
  emit_full_units();
  if (picture_ != nullptr || can_be_heard(static_cast<int64_t>(unit_.size()))) emit_unit(std::exchange(unit_, {}));
}

void OmniPerceiver::hear_parts(std::vector<ContentPart> parts) {
  if (hears_silence() || turns()->in_turn()) emit_rest();
  for (ContentPart& part : parts) {
    if (part.kind == ContentPart::Kind::kSound) {
      for (std::span<const float> rest(*part.sound); !rest.empty();) {
        const auto second = rest.first(std::min(rest.size(), kUnitSamples));
        rest = rest.subspan(second.size());
        emit_unit({second.begin(), second.end()});
      }
      continue;
    }
    // As in a unit, unless the part says otherwise.
    if (!part.max_slices) part.max_slices = config_->hd ? config_->hd_slices : 1;
    if (!part.use_image_id) part.use_image_id = false;
    OmniPiece piece;
    piece.config = config_;
    piece.turn = turn_;
    try {
      piece.input = encoder_.encode(processor_.prepare_piece(std::span(&part, 1)));
    } catch (const std::exception& error) {
      shared_.tell_error(error, turn_number_ + 1);
      continue;
    }
    ++turn_->timings.units;
    shared_.pieces.push(std::move(piece));
  }
}

bool OmniPerceiver::hears_silence() const {
  return turns() == nullptr || config_->hear_silence.value_or(config_->role.mode == OmniMode::kOmni);
}

bool OmniPerceiver::can_be_heard(int64_t samples) const {
  return processor_.config().has_audio() && processor_.config().audio->rows_of_samples(samples) > 0;
}

/// Speech too short to begin a turn by itself counts, silence alone does not.
bool OmniPerceiver::heard_something() const {
  if (turn_->timings.units > 0 || picture_ != nullptr) return true;
  const bool speech = hears_silence() || turns()->in_turn() || turns()->speech() > 0;
  return speech && can_be_heard(static_cast<int64_t>(unit_.size()));
}

void OmniPerceiver::hear(std::span<const float> samples) {
  const size_t step = turns() != nullptr ? static_cast<size_t>(turns_->step_samples()) : kUnitSamples;
  while (!samples.empty() && !shared_.closed()) {
    const auto part = samples.first(std::min(step, samples.size()));
    if (config_->while_answering == WhileAnswering::kWait) shared_.wait_for_silence(config_->reports_playback);
    hear_step(part);
    samples = samples.subspan(part.size());
  }
}

void OmniPerceiver::hear_step(std::span<const float> samples) {
  // Without a detector nothing can interrupt: what comes during an answer is for the next turn.
  heard_ += static_cast<int64_t>(samples.size());
  const bool speaking = turns() != nullptr && shared_.speaking(config_->reports_playback);
  if (speaking && config_->while_answering == WhileAnswering::kIgnore) {
    turns_->forget();
    return;
  }
  const TurnChange change = turns() != nullptr ? turns_->hear(samples, speaking) : TurnChange::kNone;
  if (speaking) {
    lead_.insert(lead_.end(), samples.begin(), samples.end());
    keep_last(lead_, kUnitSamples);
    if (change != TurnChange::kInterrupts) return;
    shared_.interrupt();
    begin_turn();
    return;
  }
  unit_.insert(unit_.end(), lead_.begin(), lead_.end());
  lead_.clear();
  unit_.insert(unit_.end(), samples.begin(), samples.end());
  if (change == TurnChange::kBegins) begin_turn();
  // The second before speech begins has its first words in it.
  if (!hears_silence() && !turns_->in_turn()) keep_last(unit_, kUnitSamples);
  if (hears_silence() || turns_->in_turn() || change == TurnChange::kEnds) emit_full_units();
  if (change == TurnChange::kEnds) turn_is_over();
}

void OmniPerceiver::begin_turn() {
  turns_->set_in_turn(true);
  OmniEvent event;
  event.kind = OmniEvent::Kind::kTurnBegins;
  event.turn = turn_number_ + 1;
  event.position = std::max<int64_t>(0, heard_ - std::llround(turns_->speech() * static_cast<double>(kAudioRate)));
  shared_.tell(std::move(event));
}

/// The end of a turn was heard.
void OmniPerceiver::turn_is_over() {
  if (config_->answer_turns) return end_turn(shared_.epoch());
  emit_rest();
  keep_turn();
  turns_->set_in_turn(false);
  turns_->forget();
  OmniEvent event;
  event.kind = OmniEvent::Kind::kTurnHeard;
  event.turn = turn_number_ + 1;
  event.position = heard_;
  shared_.tell(std::move(event));
}

void OmniPerceiver::end_turn(const EpochRef& epoch, Ask ask) {
  unit_.insert(unit_.begin(), lead_.begin(), lead_.end());
  lead_.clear();
  const bool heard = heard_something() || ask == Ask::kAlways;
  if (turns_) turns_->set_in_turn(false);
  if (turns_) turns_->forget();
  if (!heard) {
    unit_.clear();
    return;
  }
  shared_.wait_for_silence(false);  // one answer at a time
  emit_full_units();
  emit_ask(epoch);
}

/// With what cannot be seen left out, so that the sound is not lost.
ModelInput OmniPerceiver::prepare(std::shared_ptr<const Image> picture, int slices, const std::vector<float>& sound) {
  for (; picture != nullptr || !sound.empty(); picture = nullptr) {
    try {
      return encoder_.encode(processor_.prepare_piece(unit_parts(picture, slices, sound)));
    } catch (const std::exception& error) {
      shared_.tell_error(error, turn_number_ + 1);
      if (picture == nullptr) break;
    }
  }
  return {};
}

OmniPiece OmniPerceiver::make_piece(std::vector<float> sound, bool last) {
  const OmniClock::time_point start = OmniClock::now();
  const auto samples = static_cast<int64_t>(sound.size());
  if (!can_be_heard(samples)) sound.clear();
  const bool hd = last && config_->hd;
  std::shared_ptr<const Image> picture = std::exchange(picture_, nullptr);
  if (picture == nullptr && hd) picture = last_picture_;
  if (picture != nullptr) last_picture_ = picture;
  OmniPiece piece;
  piece.config = config_;
  piece.turn = turn_;
  OmniTimings& timings = turn_->timings;
  if (picture != nullptr || !sound.empty()) {
    piece.input = prepare(std::move(picture), hd ? config_->hd_slices : 1, sound);
    ++timings.units;
  }
  timings.heard_seconds += static_cast<double>(samples) / static_cast<double>(kAudioRate);
  timings.capture_ms = ms_between(last_pushed_, start);
  timings.encode_ms = ms_between(start, OmniClock::now());
  timings.perceive_ms += timings.encode_ms;
  return piece;
}

void OmniPerceiver::emit_unit(std::vector<float> sound) {
  shared_.pieces.push(make_piece(std::move(sound), false));
}

void OmniPerceiver::emit_full_units() {
  for (; unit_.size() >= kUnitSamples; unit_.erase(unit_.begin(), unit_.begin() + kUnitSamples))
    emit_unit({unit_.begin(), unit_.begin() + kUnitSamples});
}

/// Where the epoch has ended meanwhile, the turn goes on.
void OmniPerceiver::emit_ask(const EpochRef& epoch) {
  const OmniClock::time_point ended = OmniClock::now();
  OmniPiece piece = make_piece(std::exchange(unit_, {}), true);
  turn_->number = turn_number_ + 1;
  turn_->ended = ended;
  if (!shared_.begin_answer(epoch, turn_number_ + 1)) {
    if (!piece.input.tokens.empty()) shared_.pieces.push(std::move(piece));
    return;
  }
  OmniEvent event;
  event.kind = OmniEvent::Kind::kTurnEnds;
  event.turn = ++turn_number_;
  event.position = heard_;
  shared_.tell(std::move(event));
  piece.kind = OmniPiece::Kind::kAsk;
  piece.asked = epoch;
  shared_.pieces.push(std::move(piece));
  encoder_.restart();
  turn_ = std::make_shared<OmniTurn>();
  kept_units_ = 0;
}

}  // namespace minicpm
