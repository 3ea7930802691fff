#include <algorithm>
#include <cmath>

#include "engine/omni_stages.h"
#include "text/stream_decoder.h"

namespace minicpm {
namespace {

ModelInput joined(std::span<const int32_t> before, const ModelInput& piece, std::span<const int32_t> behind) {
  ModelInput whole;
  whole.tokens.assign(before.begin(), before.end());
  whole.tokens.insert(whole.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  whole.tokens.insert(whole.tokens.end(), behind.begin(), behind.end());
  for (const auto& media : piece.media) {
    auto moved = std::make_shared<MediaItem>(*media);
    for (int64_t& span : moved->spans)
      span += static_cast<int64_t>(before.size());
    whole.media.push_back(std::move(moved));
  }
  return whole;
}

int32_t only_id(const Tokenizer& tokenizer, std::string_view text) {
  const auto id = tokenizer.token_id(text);
  if (!id) fail(ErrorCode::kInvalidRequest, "this model cannot speak live: its tokenizer has no {}", text);
  return *id;
}

std::vector<int32_t> ids(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, ParseSpecial::kAll);
}

}  // namespace

OmniThinker::OmniThinker(OmniShared& shared, const Processor& processor, TokenStream& stream, bool speaks)
    : shared_(shared),
      tokenizer_(processor.tokenizer()),
      stream_(stream),
      speaks_(speaks),
      opens_(ids(tokenizer_, kTurnOpens)),
      follows_(ids(tokenizer_, kTurnFollows)),
      interrupts_(ids(tokenizer_, kTurnInterrupts)),
      answer_opens_(ids(tokenizer_, kAnswerOpens)),
      answer_begins_(ids(tokenizer_, kAnswerBegins)),
      speech_end_(only_id(tokenizer_, kSpeechEnds)) {}

void OmniThinker::run() {
  while (std::optional<OmniPiece> piece = shared_.pieces.pop()) {
    if (shared_.closed()) return;
    try {
      take(*piece);
    } catch (const std::exception& error) {
      shared_.tell_error(error, piece->kind == OmniPiece::Kind::kAsk ? piece->turn->number : 0);
      if (piece->kind == OmniPiece::Kind::kRole) shared_.close("error");
      if (piece->kind == OmniPiece::Kind::kAsk) {
        shared_.words.push({OmniWords::Kind::kEnd, piece->asked, piece->turn, {}, {}});
      }
    }
  }
}

void OmniThinker::take(OmniPiece& piece) {
  config_ = piece.config;
  switch (piece.kind) {
    case OmniPiece::Kind::kRole:
      return begin(piece);
    case OmniPiece::Kind::kAsk:
      answer(piece);
      return keep();
    case OmniPiece::Kind::kKeep:
      return keep();
    case OmniPiece::Kind::kDrop:
      return drop();
    case OmniPiece::Kind::kCut:
      return cut(piece.cut);
    case OmniPiece::Kind::kUnit:
      break;
  }
  const OmniClock::time_point start = OmniClock::now();
  append(piece.input, {});
  piece.turn->timings.think_ms += ms_between(start, OmniClock::now());
}

void OmniThinker::begin(OmniPiece& piece) {
  units_.clear();
  state_ = State::kFresh;
  last_ = {};
  role_tokens_ = static_cast<int64_t>(piece.input.tokens.size());
  if (stream_.size() > 0) stream_.erase(0, stream_.size());
  if (role_tokens_ + reserve() >= config_->context_limit) {
    fail(ErrorCode::kInvalidRequest,
         "a context of {} tokens is too small for a live session, whose first message and longest answer take {}",
         config_->context_limit, role_tokens_ + reserve());
  }
  append_whole(piece.input);
  keep();
  OmniEvent event;
  event.kind = OmniEvent::Kind::kReady;
  event.count = stream_.size();
  shared_.tell(std::move(event));
}

/// Tokens that the end of a turn, its answer, and the beginning of the next turn take at most.
int64_t OmniThinker::reserve() const {
  return static_cast<int64_t>(answer_opens_.size() + answer_begins_.size() + interrupts_.size()) +
         config_->sampling.max_tokens;
}

std::span<const int32_t> OmniThinker::turn_mark() const {
  switch (state_) {
    case State::kFresh:
      return opens_;
    case State::kAnswered:
      return follows_;
    case State::kBroken:
      return interrupts_;
    case State::kInTurn:
      break;
  }
  return {};
}

void OmniThinker::append_whole(const ModelInput& whole) {
  const int64_t before = stream_.size();
  try {
    stream_.append(whole);
  } catch (...) {
    if (stream_.size() > before) stream_.erase(before, stream_.size() - before);
    throw;
  }
}

/// A part of the user's turn, with the mark in front that the state asks for, and `tail` behind.
void OmniThinker::append(const ModelInput& piece, std::span<const int32_t> tail) {
  make_room(static_cast<int64_t>(interrupts_.size() + piece.tokens.size() + tail.size()));
  const std::span<const int32_t> mark = turn_mark();
  const int64_t first = stream_.size() + static_cast<int64_t>(mark.size());
  append_whole(joined(mark, piece, tail));
  state_ = State::kInTurn;
  if (!piece.tokens.empty()) units_.push_back({first, static_cast<int64_t>(piece.tokens.size())});
}

// The mark that opens the first turn is the same as that of any other, so that one range behind it can go whatever it
// ends in: the middle of a turn, or answers and turns as a whole. Computing again what stood behind takes long, so that
// more goes at a time than has to.
void OmniThinker::make_room(int64_t tokens) {
  const int64_t limit = config_->context_limit, size = stream_.size(), needed = tokens + reserve();
  if (size + needed <= limit) return;
  const int64_t first = role_tokens_ + static_cast<int64_t>(opens_.size());
  const auto target = static_cast<int64_t>(static_cast<double>(limit) * config_->slide_to);
  const auto left = [&](const Unit& unit) { return size - (unit.first - first) + needed; };
  auto kept = std::ranges::find_if(units_, [&](const Unit& unit) { return left(unit) <= target; });
  if (kept == units_.end() && !units_.empty() && left(units_.back()) <= limit) kept = units_.end() - 1;
  if (config_->when_full == WhenFull::kReset || kept == units_.end()) {
    forget(role_tokens_, size - role_tokens_);
    units_.clear();
    state_ = kept_state_ = State::kFresh;
    if (role_tokens_ + needed > limit) {
      fail(ErrorCode::kOutOfMemory,
           "{} tokens do not fit into the context of {} beside the first message and an answer", tokens, limit);
    }
    return;
  }
  const int64_t count = kept->first - first;
  units_.erase(units_.begin(), kept);
  // What may still be dropped now stands behind the mark that opens a turn.
  if (kept_ > first && kept_ < first + count) kept_state_ = State::kInTurn;
  forget(first, count);
}

void OmniThinker::forget(int64_t first, int64_t count) {
  if (count <= 0) return;
  stream_.erase(first, count);
  move_places(first, count);
  OmniEvent event;
  event.kind = OmniEvent::Kind::kForgotten;
  event.count = count;
  shared_.tell(std::move(event));
}

/// After `count` tokens from `first` on are gone.
void OmniThinker::move_places(int64_t first, int64_t count) {
  const auto moved = [&](int64_t place) { return place <= first ? place : std::max(first, place - count); };
  for (Unit& unit : units_)
    unit.first = moved(unit.first);
  kept_ = moved(kept_);
  if (last_.first + last_.count <= first) return;
  if (last_.first < first + count) last_ = {};
  last_.first = moved(last_.first);
}

void OmniThinker::keep() {
  kept_ = stream_.size();
  kept_state_ = state_;
}

void OmniThinker::drop() {
  if (stream_.size() <= kept_) return;
  stream_.erase(kept_, stream_.size() - kept_);
  std::erase_if(units_, [this](const Unit& unit) { return unit.first >= kept_; });
  state_ = kept_state_;
}

/// The rest of the user's turn, where it has begun, is computed again.
void OmniThinker::cut(const OmniCut& cut) {
  if (last_.turn != cut.turn || last_.count == 0) return;
  const auto heard = static_cast<int64_t>(std::ceil(cut.share * static_cast<double>(last_.count)));
  const int64_t first = last_.first + heard, count = last_.count - heard;
  last_ = {};
  if (count == 0) return;
  stream_.erase(first, count);
  move_places(first, count);
}

void OmniThinker::answer(OmniPiece& piece) {
  const EpochRef& epoch = piece.asked;
  const std::shared_ptr<OmniTurn>& turn = piece.turn;
  const OmniClock::time_point start = OmniClock::now();
  if (is_over(epoch)) {  // the turn goes on
    if (!piece.input.tokens.empty()) append(piece.input, {});
    return;
  }
  append(piece.input, answer_opens_);
  const int64_t asked_at = stream_.size() - static_cast<int64_t>(answer_opens_.size());
  OmniWords begin{OmniWords::Kind::kBegin, epoch, turn, {}, {}};
  try {
    if (speaks_ && config_->speak) begin.speaker.assign(stream_.last_hidden().begin(), stream_.last_hidden().end());
    if (!is_over(epoch)) append_whole({answer_begins_, {}});
    turn->timings.prefill_ms = ms_between(start, OmniClock::now());
    if (shared_.words.push(std::move(begin))) generate(epoch, turn);
  } catch (...) {
    stream_.erase(asked_at, stream_.size() - asked_at);
    throw;
  }
  if (is_over(epoch) && state_ == State::kInTurn) stream_.erase(asked_at, stream_.size() - asked_at);
  turn->timings.think_ms += ms_between(start, OmniClock::now());
  turn->timings.context_tokens = stream_.size();
  shared_.words.push({OmniWords::Kind::kEnd, epoch, turn, {}, {}});
}

/// Leaves the state at kInTurn where an interruption came before the first token.
void OmniThinker::generate(const EpochRef& epoch, const std::shared_ptr<OmniTurn>& turn) {
  const int64_t begins = stream_.size();
  StreamDecoder decoder(tokenizer_);
  const auto say = [&](std::string text) {
    if (text.empty()) return true;
    if (turn->text.empty()) turn->timings.first_text_ms = ms_between(turn->ended, OmniClock::now());
    turn->text += text;
    OmniEvent event;
    event.kind = OmniEvent::Kind::kText;
    event.turn = turn->number;
    event.text = text;
    shared_.tell(std::move(event), epoch);
    return shared_.words.push({OmniWords::Kind::kText, epoch, turn, {}, std::move(text)});
  };
  SamplingParams params = config_->sampling;
  params.seed += static_cast<uint64_t>(turn->number);
  bool spoken = false;  // the end of speech came
  const auto on_token = [&](int32_t id) {
    ++turn->timings.tokens;
    spoken = id == speech_end_;
    if (spoken) return true;
    return !tokenizer_.is_special(id) && !say(decoder.push(id));
  };
  const FinishReason reason = stream_.generate(params, on_token, &epoch->over);
  if (!is_over(epoch)) say(decoder.finish());
  turn->finish_reason = reason;
  // An answer at its limit of tokens is closed like one that was interrupted, as in the official code.
  const bool ended = spoken || (reason == FinishReason::kStop && !is_over(epoch));
  if (!ended && stream_.size() == begins) return;
  last_ = {turn->number, begins, stream_.size() - begins - (spoken ? 1 : 0)};
  state_ = ended ? State::kAnswered : State::kBroken;
}

}  // namespace minicpm
