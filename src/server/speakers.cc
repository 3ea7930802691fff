#include "server/speakers.h"

#include <chrono>

#include "base/error.h"
#include "io/model_files.h"
#include "models/loaded_model.h"
#include "server/api_error.h"
#include "server/model_voices.h"

namespace minicpm::server {

void check_speaks(const ServedModel& model, const std::string& param) {
  if (model.model().version().sound && (!model.gguf || can_speak(model))) return;
  throw ApiError(400, model.name + " does not speak; MiniCPM-o 2.6 does", param);
}

Speakers::Turn Speakers::turn(const ServedModel& model, const std::atomic<bool>& cancelled) {
  check_speaks(model, "model");
  Speaker* speaker = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    speaker = &speakers_[model.name];
  }
  constexpr std::chrono::milliseconds kPoll{20};  // how soon one that waits sees that it is cancelled
  Turn turn{std::unique_lock(speaker->mutex, std::defer_lock)};
  while (!turn.lock.try_lock_for(kPoll)) {
    if (cancelled) fail(ErrorCode::kCancelled, "cancelled");
  }
  if (speaker->maker == nullptr)
    speaker->maker = SpeechMaker::load(find_model_files(model.spec.model, model.spec.mmproj));
  turn.maker = speaker->maker.get();
  return turn;
}

}  // namespace minicpm::server
