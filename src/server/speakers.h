// The speech decoders of models that speak, loaded when first asked for. One text at a time is spoken by each.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "engine/speech.h"
#include "server/served_models.h"

namespace minicpm::server {

/// Throws ApiError 400 naming `param` for a model that does not speak.
void check_speaks(const ServedModel& model, const std::string& param);

class Speakers {
 public:
  /// While it lives nobody else speaks with this decoder.
  struct Turn {
    std::unique_lock<std::timed_mutex> lock;
    SpeechMaker* maker = nullptr;
  };
  /// Waits for its turn. Throws ApiError 400 for a model that does not speak, Error cancelled, and as
  /// SpeechMaker::load.
  Turn turn(const ServedModel& model, const std::atomic<bool>& cancelled);

 private:
  struct Speaker {
    std::timed_mutex mutex;
    std::unique_ptr<SpeechMaker> maker;
  };
  std::mutex mutex_;
  std::map<std::string, Speaker> speakers_;  // by the model's name
};

}  // namespace minicpm::server
