// /v1/realtime: live sessions over WebSockets.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/speech.h"
#include "server/answering.h"

namespace minicpm::server {

struct LiveOptions {
  int sessions = 4;               // at once; each has threads and a speech decoder of its own
  std::string detector = "auto";  // of speech, as make_voice_detector takes it; "off": clients end turns themselves
  double idle_seconds = 900;      // without input, then a session ends
};

/// What the live sessions of a server share: their places, and speech decoders that are loaded already.
class LiveShare {
 public:
  explicit LiveShare(const LiveOptions& options) : options_(options) {}
  const LiveOptions& options() const { return options_; }

  /// A place of a session with the speech decoder of `model`, where it has one. Throws ApiError 503 where all are
  /// taken, Error as SpeechMaker::load for files that are damaged.
  class Place {
   public:
    Place(LiveShare& share, const ServedModel& model);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    SpeechMaker* speech() { return speech_.get(); }

   private:
    LiveShare& share_;
    const ServedModel& model_;
    std::unique_ptr<SpeechMaker> speech_;
  };

 private:
  void give_back();

  const LiveOptions options_;
  std::mutex mutex_;
  int running_ = 0;
  std::map<std::filesystem::path, std::vector<std::unique_ptr<SpeechMaker>>> idle_;
};

/// Makes room in the KV cache for the sessions of a model that hears, beside its chats; memory is taken when it is
/// used. Throws Error as Engine::load.
void add_session_room(const ModelSpec& spec, const LiveOptions& live, EngineOptions& options);

void openai_realtime(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server
