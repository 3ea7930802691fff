#include "server/session_api.h"

#include "base/error.h"
#include "server/adapters.h"
#include "server/openai_chat.h"
#include "server/route_pattern.h"

namespace minicpm::server {
namespace {

constexpr std::string_view kOne = "/v1/sessions/{id}";

const SessionFolder& folder_of(const ApiContext& context) {
  if (context.sessions != nullptr) return *context.sessions;
  throw ApiError(403, "this server keeps no sessions (--session-dir)");
}

std::string scope_of(const ApiContext& context, const Exchange& exchange) {
  return context.access.scope(exchange.request());
}

/// Paths are no business of a client.
ApiError shown(const Error& error, const std::string& name) {
  switch (error.code()) {
    case ErrorCode::kNotFound:
      return ApiError(404, "there is no session \"" + name + "\"", "name", "not_found");
    case ErrorCode::kBadFile:
      return ApiError(400, "session \"" + name + "\" is damaged", "name", "damaged");
    case ErrorCode::kUnsupported:
      return ApiError(400, "session \"" + name + "\" belongs to another model, adapter or setting", "model",
                      "other_model");
    case ErrorCode::kIo:
      return ApiError(507, "session \"" + name + "\" cannot be written or read");
    default:
      return to_api_error(error);
  }
}

Json session_json(const std::string& name, const std::string& model, const SessionInfo& info) {
  return {{"id", name}, {"object", "session"}, {"model", model}, {"tokens", info.tokens}, {"bytes", info.bytes}};
}

}  // namespace

void list_sessions(ApiContext& context, Exchange& exchange) {
  Json data = Json::array();
  for (const StoredSession& session : folder_of(context).list(scope_of(context, exchange))) {
    data.push_back(
        {{"id", session.name}, {"object", "session"}, {"bytes", session.bytes}, {"created_at", session.modified}});
  }
  send_json(exchange, {{"object", "list"}, {"data", std::move(data)}});
}

void save_session(ApiContext& context, Exchange& exchange) {
  const SessionFolder& folder = folder_of(context);
  const std::string scope = scope_of(context, exchange), name = route_id(kOne, exchange.request().path);
  const std::filesystem::path file = folder.file(scope, name);
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = find_adapted(context.models, body);
  MediaReader media(context.media, model, exchange.cancelled());
  ChatRequest prompt = read_openai_chat(body, model, media).chat;
  prompt.priority = priority_of(exchange);
  exchange.note.model = model.name;
  folder.check_room(scope, name);
  SessionInfo info;
  try {
    info = model.engine->save_session(file, scope, &prompt, &exchange.cancelled());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupported) throw;  // of the prompt
    throw shown(error, name);
  }
  if (info.tokens == 0) throw ApiError(503, "the KV cache has no room to keep this prompt now");
  send_json(exchange, session_json(name, model.name, info));
}

void restore_session(ApiContext& context, Exchange& exchange) {
  const SessionFolder& folder = folder_of(context);
  const std::string scope = scope_of(context, exchange);
  const std::string name = route_id("/v1/sessions/{id}/restore", exchange.request().path);
  const std::filesystem::path file = folder.file(scope, name);
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "lora"}, {}, {}});
  const ServedModel& model = find_adapted(context.models, body);
  exchange.note.model = model.name;
  try {
    send_json(exchange, session_json(name, model.name, model.engine->restore_session(file, scope)));
  } catch (const Error& error) {
    throw shown(error, name);
  }
}

void delete_session(ApiContext& context, Exchange& exchange) {
  const std::string name = route_id(kOne, exchange.request().path);
  if (!folder_of(context).remove(scope_of(context, exchange), name)) {
    throw ApiError(404, "there is no session \"" + name.substr(0, 100) + "\"", "name", "not_found");
  }
  send_json(exchange, {{"id", name}, {"object", "session"}, {"deleted", true}});
}

}  // namespace minicpm::server
