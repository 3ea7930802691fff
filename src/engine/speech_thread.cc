#include "engine/speech_thread.h"

#include "base/error.h"

namespace minicpm {
namespace {

constexpr size_t kMostWaiting = 1 << 20;  // bytes of text: far more than an answer

}  // namespace

SpeechThread::SpeechThread(std::unique_ptr<SpeechStream> stream)
    : stream_(std::move(stream)), thread_([this] { run(); }) {}

SpeechThread::~SpeechThread() {
  {
    const std::scoped_lock lock(mutex_);
    if (state_ == State::kOpen) state_ = State::kAbandoned;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void SpeechThread::push(std::string_view text) {
  std::unique_lock lock(mutex_);
  MINICPM_CHECK(state_ == State::kOpen);
  changed_.wait(lock, [&] { return waiting_.size() < kMostWaiting || done_; });
  rethrow();
  waiting_ += text;
  changed_.notify_all();
}

SpeechResult SpeechThread::finish() {
  {
    const std::scoped_lock lock(mutex_);
    MINICPM_CHECK(state_ == State::kOpen);
    state_ = State::kFinishing;
  }
  changed_.notify_all();
  thread_.join();
  rethrow();
  return result_;
}

void SpeechThread::rethrow() const {
  if (error_ != nullptr) std::rethrow_exception(error_);
}

void SpeechThread::run() {
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();  // of the stream, or of whoever takes the samples
  }
  const std::scoped_lock lock(mutex_);
  error_ = error;
  done_ = true;
  changed_.notify_all();
}

void SpeechThread::work() {
  for (;;) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !waiting_.empty() || state_ != State::kOpen; });
      if (state_ == State::kAbandoned) return;
      if (waiting_.empty()) break;
      text.swap(waiting_);
      changed_.notify_all();
    }
    stream_->push(text);
  }
  result_ = stream_->finish();
}

}  // namespace minicpm
