#include "server/model_changes.h"

#include "base/error.h"
#include "hub/pull.h"
#include "hub/store.h"

namespace minicpm::server {
namespace {

const ModelChanges& changes_of(const ApiContext& context) {
  if (context.changes != nullptr) return *context.changes;
  throw ApiError(403, "this server neither fetches nor deletes models (--allow-pull)");
}

std::string model_of(const Fields& body) {
  const auto name = body.string("model");
  std::string text = name ? *name : body.required_string("name");
  constexpr std::string_view kLatest = ":latest";  // what Ollama's tools put behind names
  if (text.ends_with(kLatest)) text.resize(text.size() - kLatest.size());
  return text;
}

HubName hub_name(const std::string& text) {
  if (auto name = parse_hub_name(text)) return *std::move(name);
  throw ApiError(
      400,
      fmt::format("\"{}\" is no name of the hub: ORG/NAME, ORG/NAME@REVISION or ORG/NAME:FORMAT", text.substr(0, 200)),
      "model");
}

/// Here the hub's and the disk's errors are the client's business; paths are not.
ApiError shown(const Error& error, const std::string& model) {
  switch (error.code()) {
    case ErrorCode::kNotFound:
      return ApiError(404, error.what(), "model");
    case ErrorCode::kRefused:
      return ApiError(403, error.what(), "model");
    case ErrorCode::kNetwork:
      return ApiError(502, error.what());
    case ErrorCode::kIo:
      return ApiError(507, model + " cannot be written: the disk is full, or the store is not the server's");
    default:
      return to_api_error(error);
  }
}

/// The lines that tell how far it is.
class PullLines {
 public:
  PullLines(Exchange& exchange, std::string model, bool wanted)
      : exchange_(exchange), model_(std::move(model)), wanted_(wanted), stream_(exchange, kJsonLines) {}

  void begin() { line({{"status", "pulling manifest"}}); }
  void progress(const hub::PullProgress& state) {
    if (state.done_bytes == told_) return;
    told_ = state.done_bytes;
    line({{"status", "pulling " + model_},
          {"digest", model_},
          {"total", state.total_bytes},
          {"completed", state.done_bytes}});
  }
  void finish() {
    if (!wanted_) return send_json(exchange_, {{"status", "success"}});
    line({{"status", "success"}});
    stream_.end();
  }

 private:
  void line(const Json& json) {
    if (wanted_) stream_.line(json);
  }

  Exchange& exchange_;
  const std::string model_;
  const bool wanted_;
  PieceStream stream_;
  int64_t told_ = -1;
};

}  // namespace

void ollama_pull(ApiContext& context, Exchange& exchange) {
  const ModelChanges& changes = changes_of(context);
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "name", "stream"}, {}, {"insecure", "username", "password"}});
  const std::string model = model_of(body);
  const HubName name = hub_name(model);
  PullLines lines(exchange, model, body.boolean("stream").value_or(true));
  exchange.note.model = model;
  try {
    lines.begin();
    hub::pull(name, changes.hub,
              {.on_progress = [&](const hub::PullProgress& state) { lines.progress(state); },
               .cancel = &exchange.cancelled()});
    if (context.models.pool().find(model) == nullptr) context.models.pool().add(changes.describe(model));
  } catch (const Error& error) {
    throw shown(error, model);
  }
  lines.finish();
}

void ollama_delete(ApiContext& context, Exchange& exchange) {
  const ModelChanges& changes = changes_of(context);
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "name"}, {}, {}});
  ModelPool& pool = context.models.pool();
  const std::string wanted = model_of(body);
  context.models.known(wanted);  // or throws
  ServedModel* const found = pool.find(wanted);
  if (found == nullptr) throw ApiError(404, wanted + " was removed", "model", "model_not_found");
  const ServedModel& model = *found;
  const auto name = parse_hub_name(model.spec.model);
  if (!name || !model.on_demand || model.name != model.spec.model) {
    throw ApiError(400, model.name + " is no model of the store, or one that the server was started with", "model");
  }
  hub::Removal removal;
  try {
    removal = hub::plan_removal(changes.hub.cache, *name);
  } catch (const Error& error) {
    throw shown(error, model.name);
  }
  if (!pool.remove(*found)) {
    throw ApiError(409, model.name + " is being used", "model");
  }
  hub::remove(removal);
  exchange.send({.content_type = "text/plain; charset=utf-8"});
}

void ollama_refused(ApiContext&, Exchange& exchange) {
  throw ApiError(400, exchange.request().path + ": this server neither makes models nor gives them away");
}

}  // namespace minicpm::server
