#include "server/files_api.h"

#include <algorithm>
#include <iterator>

#include "base/file_map.h"
#include "server/batch_runner.h"
#include "server/file_store.h"
#include "server/list_page.h"
#include "server/multipart.h"
#include "server/route_pattern.h"
#include "text/utf8.h"

namespace minicpm::server {
namespace {

constexpr size_t kPieceBytes = 1u << 20;
constexpr size_t kMaxName = 255;
constexpr int64_t kMaxPage = 10'000;

/// Throws ApiError 400 if this server keeps nothing.
ServerState& state_of(const ApiContext& context) {
  if (context.state != nullptr) return *context.state;
  throw ApiError(400, "this server keeps nothing (--no-state)", {}, "unsupported");
}

std::string scope_of(const ApiContext& context, const Exchange& exchange) {
  return context.access.scope(exchange.request());
}

[[noreturn]] void not_found(const char* what, const std::string& id) {
  throw ApiError(404, fmt::format("there is no {} \"{}\"", what, id.substr(0, 100)), "id", "not_found");
}

struct Upload {
  std::string name, purpose;
  std::string_view content;
};

Upload read_upload(const HttpRequest& request) {
  Upload upload;
  bool has_file = false;
  for (const FormField& field : parse_form(request.header("content-type"), request.body)) {
    if (field.name == "file") {
      upload.content = field.value;
      upload.name = field.file_name;
      has_file = true;
    } else if (field.name == "purpose") {
      upload.purpose = field.value.substr(0, kMaxName);
    } else {
      const std::string name = field.name.substr(0, 100);
      throw ApiError(400, name + ": unknown field", name, "unknown_field");
    }
  }
  if (!has_file) bad_field("file", "is missing");
  if (upload.content.empty()) bad_field("file", "is empty");
  if (upload.name.empty()) upload.name = "file";
  upload.name.resize(valid_utf8_prefix(upload.name.substr(0, kMaxName)));
  constexpr std::string_view kPurposes[] = {"batch", "assistants", "vision", "user_data", "fine-tune", "evals"};
  if (std::ranges::find(kPurposes, upload.purpose) == std::end(kPurposes)) {
    bad_field("purpose", "must be batch, assistants, vision, user_data, fine-tune or evals");
  }
  return upload;
}

/// The facts of the file that the address names. Throws ApiError 404.
Json file_of(const ApiContext& context, const Exchange& exchange, std::string_view route) {
  const std::string id = route_id(route, exchange.request().path);
  auto file = FileStore(state_of(context)).find(scope_of(context, exchange), id);
  if (!file) not_found("file", id);
  return *std::move(file);
}

Json new_batch(const Fields& body, const std::string& file) {
  constexpr std::string_view kEndpoints[] = {"/v1/chat/completions", "/v1/completions", "/v1/responses",
                                             "/v1/embeddings"};
  const std::string endpoint = body.required_string("endpoint");
  if (std::ranges::find(kEndpoints, endpoint) == std::end(kEndpoints)) {
    bad_field(body.path("endpoint"), "must be /v1/chat/completions, /v1/completions, /v1/responses or /v1/embeddings");
  }
  const std::string window = body.string("completion_window").value_or("24h");
  if (window != "24h") bad_field(body.path("completion_window"), "must be 24h");
  const auto metadata = body.object("metadata");
  Json batch = {{"object", "batch"},
                {"endpoint", endpoint},
                {"errors", nullptr},
                {"input_file_id", file},
                {"completion_window", window},
                {"status", "validating"},
                {"created_at", unix_time()},
                {"request_counts", {{"total", 0}, {"completed", 0}, {"failed", 0}}},
                {"metadata", metadata ? metadata->json() : Json(nullptr)}};
  for (const char* key : {"output_file_id", "error_file_id", "in_progress_at", "expires_at", "finalizing_at",
                          "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"})
    batch[key] = nullptr;
  return batch;
}

}  // namespace

void openai_upload_file(ApiContext& context, Exchange& exchange) {
  const Upload upload = read_upload(exchange.request());
  const std::string scope = scope_of(context, exchange);
  FileStore files(state_of(context));
  files.check_room(scope, static_cast<int64_t>(upload.content.size()));
  send_json(exchange,
            files.add(scope, upload.name, upload.purpose, [&](AtomicFile& file) { file.write(upload.content); }));
}

void openai_list_files(ApiContext& context, Exchange& exchange) {
  const ListPage page = read_page(exchange.request(), kMaxPage, kMaxPage);
  const std::string purpose = exchange.request().query_field("purpose").value_or("");
  send_json(exchange, page_json(FileStore(state_of(context)).list(scope_of(context, exchange), purpose), page));
}

void openai_find_file(ApiContext& context, Exchange& exchange) {
  send_json(exchange, file_of(context, exchange, "/v1/files/{id}"));
}

void openai_file_content(ApiContext& context, Exchange& exchange) {
  const std::string id = file_of(context, exchange, "/v1/files/{id}/content")["id"].get<std::string>();
  const auto map = FileMap::open(FileStore(state_of(context)).content(id));
  const std::string_view text(reinterpret_cast<const char*>(map->bytes().data()), map->size());
  PieceStream stream(exchange, "application/octet-stream");
  stream.write(text.substr(0, kPieceBytes));
  for (size_t at = kPieceBytes; at < text.size() && !exchange.cancelled(); at += kPieceBytes)
    stream.write(text.substr(at, kPieceBytes));
  stream.end();
}

void openai_delete_file(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/files/{id}", exchange.request().path);
  if (!FileStore(state_of(context)).remove(scope_of(context, exchange), id)) not_found("file", id);
  send_json(exchange, {{"id", id}, {"object", "file"}, {"deleted", true}});
}

void openai_create_batch(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"input_file_id", "endpoint", "completion_window", "metadata"}, {}, {"output_expires_after"}});
  const std::string id = body.required_string("input_file_id"), scope = scope_of(context, exchange);
  const Json batch = new_batch(body, id);
  FileStore files(state_of(context));
  const auto file = files.find(scope, id);
  if (!file) bad_field(body.path("input_file_id"), "there is no such file");
  if ((*file)["purpose"] != "batch") bad_field(body.path("input_file_id"), "the purpose of the file is not batch");
  const Json made = BatchStore(*context.state).add(scope, batch, files.content(id));
  if (context.batches != nullptr) context.batches->wake();
  send_json(exchange, made);
}

void openai_list_batches(ApiContext& context, Exchange& exchange) {
  const ListPage page = read_page(exchange.request(), 20, 100);
  send_json(exchange, page_json(BatchStore(state_of(context)).list(scope_of(context, exchange)), page));
}

void openai_find_batch(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/batches/{id}", exchange.request().path);
  const auto batch = BatchStore(state_of(context)).find(scope_of(context, exchange), id);
  if (!batch) not_found("batch", id);
  send_json(exchange, *batch);
}

void openai_cancel_batch(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/batches/{id}/cancel", exchange.request().path);
  bool changed = false;
  const auto batch = BatchStore(state_of(context)).change(scope_of(context, exchange), id, [&](Json& work) {
    changed = true;
    if (work["status"] == "cancelling") return;
    work["status"] = "cancelling";
    work["cancelling_at"] = unix_time();
  });
  if (!batch) not_found("batch", id);
  if (!changed) {
    throw ApiError(409, fmt::format("the batch is {} and cannot be cancelled", (*batch)["status"].get<std::string>()));
  }
  if (context.batches != nullptr) context.batches->wake();
  send_json(exchange, *batch);
}

}  // namespace minicpm::server
