// What the chat APIs share: asking the engine, streaming its text, sampling settings, names and times.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chat.h"
#include "server/access.h"
#include "server/api_error.h"
#include "server/http.h"
#include "server/json_body.h"
#include "server/media_parts.h"
#include "server/metrics.h"
#include "server/served_models.h"
#include "server/speakers.h"

namespace minicpm::server {

class LiveShare;      // realtime_api.h
class Adapters;       // adapters.h
class SessionFolder;  // session_folder.h
class ServerState;    // state.h
class BatchRunner;    // batch_runner.h
struct ModelChanges;  // model_changes.h

/// What every handler may use. All of it may be used by several threads.
struct ApiContext {
  const ServedModels& models;
  MediaShare& media;
  Metrics& metrics;
  const Access& access;
  Speakers& speakers;
  std::string version;  // of the program
  LiveShare* live = nullptr;
  ServerState* state = nullptr;  // null: nothing is kept
  BatchRunner* batches = nullptr;
  const ModelChanges* changes = nullptr;    // null: models are neither fetched nor deleted
  const SessionFolder* sessions = nullptr;  // null: none are kept
  Adapters* adapters = nullptr;             // null: the server has none and takes none
};

/// Work that was left with the server stands behind what somebody waits for.
Priority priority_of(const Exchange& exchange);

/// Asks the engine. The pieces that `on_delta` gets joined are the result's text, reasoning and calls exactly. Fills in
/// exchange.note and counts. Throws Error as Engine::chat, and cancelled.
ChatResult answer(ApiContext& context, Exchange& exchange, const ServedModel& model, const ChatRequest& request,
                  const OnDelta& on_delta = {});

/// The same `count` times at once, with seeds that follow each other. The prompt is computed once. `on_delta` gets the
/// number of the answer, too, and is called by one thread at a time.
using OnChoiceDelta = std::function<void(int, const TextDelta&)>;
std::vector<ChatResult> answers(ApiContext& context, Exchange& exchange, const ServedModel& model,
                                const ChatRequest& request, int count, const OnChoiceDelta& on_delta = {});

/// Tokens before the end of the reasoning.
int64_t reasoning_tokens(const ServedModel& model, const ChatRequest& request, const ChatResult& result);

/// An answer that is sent piece by piece. It begins with its first piece: until then an error can still have a status
/// of its own.
class PieceStream {
 public:
  PieceStream(Exchange& exchange, std::string content_type)
      : exchange_(exchange), content_type_(std::move(content_type)) {}

  void write(std::string_view text);
  /// "data: JSON", with "event: NAME" before it where a name is given.
  void event(const Json& data, std::string_view name = {});
  void line(const Json& data);
  void end();

 private:
  Exchange& exchange_;
  std::string content_type_;
};

inline constexpr char kEventStream[] = "text/event-stream; charset=utf-8";
inline constexpr char kJsonLines[] = "application/x-ndjson";

/// How an error looks inside a stream that has begun.
std::string stream_error(ErrorStyle style, const ApiError& error, std::string_view request_id);

/// Sends 200 with JSON.
void send_json(Exchange& exchange, const Json& json);

/// temperature, top_p, top_k, min_p, repetition_penalty or repeat_penalty, presence_penalty, frequency_penalty, and
/// seed (drawn if absent).
void read_sampling(const Fields& fields, SamplingParams& params);

/// Strings that end an answer. Throws ApiError 400 for empty, long and too many ones.
std::vector<std::string> read_stops(const Fields& fields, std::string_view key);

/// "chatcmpl-" and the request's own number.
std::string answer_id(std::string_view prefix, const Exchange& exchange);
int64_t unix_time();
/// "2024-05-01T12:00:00.123456Z"
std::string utc_time();
std::string utc_time(int64_t seconds);

/// The largest number that a count of tokens may be.
inline constexpr int64_t kMaxCount = 2'147'483'647;

}  // namespace minicpm::server
