// A stream of speech on a thread of its own, so that the text need not wait for it.
#pragma once

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "engine/speech.h"

namespace minicpm {

class SpeechThread {
 public:
  explicit SpeechThread(std::unique_ptr<SpeechStream> stream);
  /// Without finish() what waits is not spoken.
  ~SpeechThread();
  SpeechThread(const SpeechThread&) = delete;
  SpeechThread& operator=(const SpeechThread&) = delete;

  /// Returns at once, unless very much text waits. Throws what the stream threw.
  void push(std::string_view text);
  /// Waits until all is spoken. Throws what the stream threw.
  SpeechResult finish();

 private:
  enum class State { kOpen, kFinishing, kAbandoned };
  void run();
  void work();
  void rethrow() const;

  std::unique_ptr<SpeechStream> stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string waiting_;
  State state_ = State::kOpen;
  bool done_ = false;
  std::exception_ptr error_;
  SpeechResult result_;
  std::thread thread_;  // the last member: it begins when the others exist
};

}  // namespace minicpm
