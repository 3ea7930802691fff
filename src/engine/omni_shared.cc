#include <algorithm>

#include "engine/omni_stages.h"
#include "media/vocoder_mel.h"

namespace minicpm {
namespace {

// Bounds of the queues between the stages.
constexpr size_t kInputSamples = 30 * static_cast<size_t>(kAudioRate);
constexpr size_t kPieces = 4;  // units of a second that wait for the language model
constexpr size_t kWords = 64;  // tokens that wait for the speech decoder
constexpr size_t kSoundSamples = 10 * static_cast<size_t>(kSpeechRate);
constexpr size_t kOutputSamples = 10 * static_cast<size_t>(kSpeechRate);

}  // namespace

OmniShared::OmniShared()
    : input(kInputSamples), pieces(kPieces), words(kWords), sound(kSoundSamples), output(kOutputSamples) {}

EpochRef OmniShared::epoch() const {
  const std::lock_guard lock(mutex_);
  return epoch_;
}

bool OmniShared::begin_answer(const EpochRef& epoch, int64_t turn) {
  const std::lock_guard lock(mutex_);
  if (epoch != epoch_) return false;
  answering_ = epoch_;
  answer_turn_ = turn;
  unplayed_ = 0;
  return true;
}

bool OmniShared::end_answer(const EpochRef& epoch) {
  const std::lock_guard lock(mutex_);
  if (answering_ == nullptr || answering_ != epoch) return false;
  answering_ = nullptr;
  changed_.notify_all();
  return true;
}

bool OmniShared::answering() const {
  return speaking(false);
}

bool OmniShared::speaking(bool playback) const {
  const std::lock_guard lock(mutex_);
  return answering_ != nullptr || (playback && unplayed_ > 0);
}

void OmniShared::delivered(const EpochRef& epoch, int64_t samples) {
  const std::lock_guard lock(mutex_);
  if (epoch == epoch_) unplayed_ += samples;
}

void OmniShared::played(int64_t samples) {
  const std::lock_guard lock(mutex_);
  unplayed_ = std::max<int64_t>(0, unplayed_ - std::max<int64_t>(0, samples));
  changed_.notify_all();
}

void OmniShared::wait_for_silence(bool playback) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || (answering_ == nullptr && !(playback && unplayed_ > 0)); });
}

void OmniShared::interrupt() {
  bool cut = false, silence = false;
  int64_t turn = 0;
  {
    const std::lock_guard lock(mutex_);
    cut = answering_ != nullptr;
    silence = cut || unplayed_ > 0;
    turn = answer_turn_;
    epoch_->over = true;
    epoch_ = std::make_shared<Epoch>(epoch_->number + 1);
    answering_ = nullptr;
    unplayed_ = 0;
    changed_.notify_all();
  }
  input.drop_stale();
  words.drop_stale();
  sound.drop_stale();
  output.drop_stale();
  OmniEvent event;
  event.turn = turn;
  event.kind = OmniEvent::Kind::kSilence;
  if (silence) tell(event);
  event.kind = OmniEvent::Kind::kAnswerEnds;
  event.finish_reason = FinishReason::kCancelled;
  if (cut) tell(std::move(event));
}

bool OmniShared::mark_closed(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  closed_ = true;
  reason_ = std::move(reason);
  changed_.notify_all();
  return true;
}

void OmniShared::close_queues() {
  input.close();
  pieces.close();
  words.close();
  sound.close();
}

void OmniShared::close(std::string reason) {
  if (!mark_closed(std::move(reason))) return;
  interrupt();
  close_queues();
}

void OmniShared::finish() {
  if (mark_closed("finished")) close_queues();
}

bool OmniShared::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

std::string OmniShared::close_reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

void OmniShared::tell(OmniEvent event, EpochRef epoch) {
  output.push({std::move(epoch), std::move(event)});
}

void OmniShared::tell_error(const std::exception& error, int64_t turn) {
  OmniEvent event;
  event.kind = OmniEvent::Kind::kError;
  event.turn = turn;
  event.text = error.what();
  if (const auto* known = dynamic_cast<const Error*>(&error)) event.error = known->code();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) event.error = ErrorCode::kOutOfMemory;
  tell(std::move(event));
}

}  // namespace minicpm
