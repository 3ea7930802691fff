#include "engine/turn_detector.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr double kFrameSeconds = static_cast<double>(kVoiceFrame) / kVoiceRate;

int64_t frames_of(double seconds) {
  return std::llround(seconds / kFrameSeconds);
}

struct Speech {
  int64_t begin, end;  // frames
};

/// Where the scores rise above the threshold, to where they stay below the lower level for the shortest silence.
std::vector<Speech> find_speech(std::span<const float> scores, const TurnParams& params) {
  const auto count = static_cast<int64_t>(scores.size());
  const float low = params.threshold - params.release;
  std::vector<Speech> found;
  int64_t begin = -1, quiet = -1;  // of the present speech, and of the silence that may end it
  const auto close = [&](int64_t end) {
    if (end - begin >= frames_of(params.min_speech)) found.push_back({begin, end});
    begin = quiet = -1;
  };
  for (int64_t i = 0; i < count; ++i) {
    if (scores[i] >= params.threshold) {
      quiet = -1;
      if (begin < 0) begin = i;
    } else if (begin >= 0 && scores[i] < low) {
      if (quiet < 0) quiet = i;
      if (i + 1 - quiet >= frames_of(params.min_silence)) close(quiet);
    }
  }
  if (begin >= 0) close(quiet >= 0 ? quiet : count);  // a silence that has just begun is none of the speech
  return found;
}

void check(bool good, const char* name, double value, const char* range) {
  if (!good) fail(ErrorCode::kInvalidRequest, "turn detection: {} is {}, expected {}", name, value, range);
}

}  // namespace

void validate(const TurnParams& p) {
  check(p.threshold > 0 && p.threshold <= 1, "threshold", p.threshold, "more than 0, at most 1");
  check(p.release >= 0 && p.release < 1, "release", p.release, "0 to 1");
  check(p.window >= 0.1 && p.window <= 10, "window", p.window, "0.1 to 10 seconds");
  check(p.step >= 0.01 && p.step <= p.window, "step", p.step, "0.01 seconds to the window");
  check(p.min_speech >= 0 && p.min_speech <= 10, "min_speech", p.min_speech, "0 to 10 seconds");
  check(p.min_silence >= 0.01 && p.min_silence <= 10, "min_silence", p.min_silence, "0.01 to 10 seconds");
  check(p.pad >= 0 && p.pad <= 1, "pad", p.pad, "0 to 1 second");
  check(p.begin_speech >= 0 && p.begin_speech < p.window, "begin_speech", p.begin_speech, "less than the window");
  check(p.end_speech >= 0 && p.end_speech <= p.window, "end_speech", p.end_speech, "at most the window");
  check(p.min_turn >= 0 && p.min_turn <= 60, "min_turn", p.min_turn, "0 to 60 seconds");
  check(p.interrupt_speech > 0 && p.interrupt_speech <= p.window, "interrupt_speech", p.interrupt_speech,
        "more than 0, at most the window");
}

double speech_seconds(std::span<const float> scores, const TurnParams& params) {
  const auto count = static_cast<int64_t>(scores.size());
  const int64_t pad = frames_of(params.pad);
  int64_t frames = 0, reached = 0;  // counted so far, and up to where
  for (const Speech& speech : find_speech(scores, params)) {
    const int64_t begin = std::max(speech.begin - pad, reached), end = std::min(speech.end + pad, count);
    frames += std::max<int64_t>(0, end - begin);
    reached = std::max(reached, end);
  }
  return static_cast<double>(frames) * kFrameSeconds;
}

TurnDetector::TurnDetector(std::unique_ptr<VoiceDetector> voice, TurnParams params) : voice_(std::move(voice)) {
  configure(params);
}

void TurnDetector::configure(const TurnParams& params) {
  validate(params);
  params_ = params;
  window_frames_ = frames_of(params_.window);
  step_frames_ = std::max<int64_t>(1, frames_of(params_.step));
  set_in_turn(false);
  forget();
}

void TurnDetector::set_in_turn(bool in_turn) {
  in_turn_ = in_turn;
  since_begin_ = 0;
}

void TurnDetector::forget() {
  scores_.clear();
  energies_.clear();
  rest_.clear();
  recent_.fill(0);
  since_look_ = 0;
}

double TurnDetector::window_rms() const {
  if (energies_.empty()) return 0;
  const double sum = std::accumulate(energies_.begin(), energies_.end(), 0.0);
  return std::sqrt(sum / static_cast<double>(energies_.size()));
}

TurnChange TurnDetector::hear(std::span<const float> samples, bool answering) {
  rest_.insert(rest_.end(), samples.begin(), samples.end());
  TurnChange change = TurnChange::kNone;
  size_t at = 0;
  for (; rest_.size() - at >= kVoiceFrame; at += kVoiceFrame) {
    const auto frame = std::span(rest_).subspan(at, kVoiceFrame);
    recent_[next_recent_++ % recent_.size()] = voice_->judge(frame);
    scores_.push_back(std::accumulate(recent_.begin(), recent_.end(), 0.0f) / static_cast<float>(recent_.size()));
    double energy = 0;
    for (const float sample : frame)
      energy += static_cast<double>(sample) * sample;
    energies_.push_back(static_cast<float>(energy / kVoiceFrame));
    ++since_look_;
    ++since_begin_;
    if (since_look_ < step_frames_ || change != TurnChange::kNone) continue;
    since_look_ = 0;
    change = look(answering);
  }
  rest_.erase(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(at));
  return change;
}

TurnChange TurnDetector::look(bool answering) {
  if (const auto extra = static_cast<ptrdiff_t>(scores_.size()) - window_frames_; extra > 0) {
    scores_.erase(scores_.begin(), scores_.begin() + extra);
    energies_.erase(energies_.begin(), energies_.begin() + extra);
  }
  const double speech = speech_seconds(scores_, params_);
  const bool loud = window_rms() > params_.min_rms;
  if (answering) return loud && speech >= params_.interrupt_speech ? TurnChange::kInterrupts : TurnChange::kNone;
  if (!in_turn_) {
    if (!loud || speech <= params_.begin_speech) return TurnChange::kNone;
    set_in_turn(true);
    return TurnChange::kBegins;
  }
  const bool long_enough = static_cast<double>(since_begin_) * kFrameSeconds >= params_.min_turn;
  if (!long_enough || speech >= params_.end_speech) return TurnChange::kNone;
  set_in_turn(false);
  return TurnChange::kEnds;
}

}  // namespace minicpm
