#include "server/realtime_api.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "engine/omni_parts.h"
#include "io/model_files.h"
#include "models/description.h"
#include "models/loaded_model.h"
#include "server/realtime_talk.h"
#include "server/websocket_frames.h"

namespace minicpm::server {
namespace {

constexpr int64_t kContext = 8192;              // tokens at most, as in the official demonstration
constexpr std::chrono::milliseconds kPoll{20};  // how soon a session sees that its client has gone
constexpr std::chrono::milliseconds kIdlePoll{1000};
constexpr char kProtocol[] = "realtime";

RealtimeDialect dialect_of(const HttpRequest& request) {
  const auto has = [&](std::string_view name, std::string_view word) {
    const auto list = request.list(name);
    return std::ranges::find(list, word) != list.end();
  };
  const bool beta = has("openai-beta", "realtime=v1") || has("sec-websocket-protocol", "openai-beta.realtime-v1");
  return beta ? RealtimeDialect::kBeta : RealtimeDialect::kPresent;
}

bool offers_protocol(const HttpRequest& request) {
  const auto list = request.list("sec-websocket-protocol");
  return std::ranges::find(list, kProtocol) != list.end();
}

/// What clients cannot set.
OmniConfig base_config(const ServedModel& model, const LiveOptions& options) {
  OmniConfig config;
  const int64_t most = model.model().config().decoder.max_positions;
  const int64_t own = model.options.context_tokens > 0 ? model.options.context_tokens : model.options.default_context;
  config.context_limit = std::min({kContext, most, own});
  config.idle_seconds = options.idle_seconds;
  config.sampling = model.engine->default_sampling(false, true);
  return config;
}

/// Hands the session's events on until it has closed.
void hand_on(OmniSession& session, RealtimeTalk& talk, WebSocket& socket) {
  while (true) {
    if (socket.closed()) session.close();
    const auto event = session.next_event(kPoll);
    if (!event) continue;
    talk.take(*event);
    if (event->kind != OmniEvent::Kind::kClosed) continue;
    const bool failed = event->text == "error";
    return socket.close(failed ? close_code::kInternal : close_code::kNormal, event->text);
  }
}

/// Ends a session, which lets all wait no longer who use it.
struct SessionEnd {
  OmniSession& session;
  ~SessionEnd() { session.close(); }
};

void converse(OmniSession& session, RealtimeTalk& talk, WebSocket& socket) {
  talk.begin(session);
  std::jthread events([&] {
    try {
      hand_on(session, talk, socket);
    } catch (const std::exception&) {
      socket.close(close_code::kInternal, "internal error");
      session.close();
    }
  });
  const SessionEnd end{session};
  while (!socket.closed()) {
    const auto message = socket.receive(kIdlePoll);
    if (!message || socket.closed()) continue;
    if (message->text) {
      talk.take(message->data);
    } else {
      talk.tell_error(ApiError(400, "events are text messages with JSON", {}, "invalid_message"));
    }
  }
}

}  // namespace

LiveShare::Place::Place(LiveShare& share, const ServedModel& model) : share_(share), model_(model) {
  {
    const std::scoped_lock lock(share_.mutex_);
    if (share_.running_ >= share_.options_.sessions) {
      throw ApiError(503, fmt::format("all {} live sessions are taken; try again later", share_.options_.sessions), {},
                     "too_many_sessions");
    }
    ++share_.running_;
    auto& idle = share_.idle_[model_.folder];
    if (!idle.empty()) {
      speech_ = std::move(idle.back());
      idle.pop_back();
      return;
    }
  }
  try {
    speech_ = SpeechMaker::load(find_model_files(model.spec.model, model.spec.mmproj), model.options.backend);
  } catch (const Error& error) {
    // A model without the parts that speak gives sessions that answer in text.
    if (error.code() == ErrorCode::kNotFound) return;
    share_.give_back();
    throw;
  }
}

LiveShare::Place::~Place() {
  {
    const std::scoped_lock lock(share_.mutex_);
    if (speech_ != nullptr) share_.idle_[model_.folder].push_back(std::move(speech_));
  }
  share_.give_back();
}

void LiveShare::give_back() {
  const std::scoped_lock lock(mutex_);
  --running_;
}

void add_session_room(const ModelSpec& spec, const LiveOptions& live, EngineOptions& options) {
  const ModelConfig config = read_config(find_model_files(spec.model, spec.mmproj));
  if (!config.has_audio()) return;
  const int64_t context = options.context_tokens > 0
                              ? options.context_tokens
                              : std::min<int64_t>(options.default_context, config.decoder.max_positions);
  options.cache_tokens = std::max(options.cache_tokens, context * (1 + live.sessions));
}

void openai_realtime(ApiContext& context, Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  const ServedModel& model = context.models.find(request.query_field("model").value_or(""));
  exchange.note.model = model.name;
  if (!model.model().has_audio()) {
    throw ApiError(
        400, fmt::format("{} cannot hear; live sessions need a model that does, such as MiniCPM-o 2.6", model.name),
        "model", "model_cannot_hear");
  }
  if (const auto problem = check_upgrade(request)) {
    HttpResponse response =
        error_response(ErrorStyle::kOpenAi, ApiError(problem->status, std::string(problem->message)), request.id);
    if (problem->status == 426) response.headers = upgrade_headers();
    return exchange.send(std::move(response));
  }
  LiveShare::Place place(*context.live, model);
  const Processor processor(model.model().config(), *model.model().tokenizer());
  OmniPartsOptions options;
  options.backend = model.options.backend;
  options.precision = model.options.precision;
  options.detector = context.live->options().detector;
  RealtimeTalk talk({.model = model,
                     .media = context.media,
                     .base = base_config(model, context.live->options()),
                     .dialect = dialect_of(request),
                     .can_speak = place.speech() != nullptr,
                     .cancelled = exchange.cancelled()});
  const auto session =
      OmniSession::open(make_omni_parts(*model.engine, processor, place.speech(), options), talk.first_config());
  WebSocket& socket = exchange.upgrade(offers_protocol(request) ? kProtocol : "");
  talk.send_through([&socket](const Json& event) { socket.send(to_text(event)); });
  try {
    converse(*session, talk, socket);
  } catch (const std::exception&) {
    socket.close(close_code::kInternal, "internal error");
  }
  exchange.note.prompt_tokens = talk.prompt_tokens();
  exchange.note.completion_tokens = talk.completion_tokens();
  context.metrics.count_tokens(talk.prompt_tokens(), talk.completion_tokens());
}

}  // namespace minicpm::server
