#include "server/stored_responses.h"

#include "server/list_page.h"
#include "server/response_store.h"
#include "server/route_pattern.h"

namespace minicpm::server {
namespace {

/// Throws ApiError 400 if this server keeps nothing.
ServerState& state_of(const ApiContext& context, const std::string& param) {
  if (context.state != nullptr) return *context.state;
  throw ApiError(400, (param.empty() ? "" : param + ": ") + "this server keeps nothing (--no-state)", param,
                 "unsupported_field");
}

[[noreturn]] void not_found(const std::string& id) {
  throw ApiError(404, fmt::format("there is no response \"{}\"", id.substr(0, 100)), {}, "response_not_found");
}

/// The items of a request as they are kept: with ids, and with the parts of their contents in a list.
Json kept_items(const Json& input, const std::string& response_id) {
  Json items = input;
  if (input.is_string()) items = Json::array({{{"role", "user"}, {"content", input}}});
  size_t number = 0;
  for (Json& item : items) {
    if (!item.contains("type")) item["type"] = "message";
    if (!item.contains("id") || !item["id"].is_string()) {
      item["id"] = fmt::format("item_{}_{}", response_id.substr(response_id.find('_') + 1), number);
    }
    ++number;
    const auto content = item.find("content");
    if (content == item.end() || !content->is_string()) continue;
    const char* type = item["role"] == "assistant" ? "output_text" : "input_text";
    *content = Json::array({{{"type", type}, {"text", *content}}});
  }
  return items;
}

std::string scope_of(const ApiContext& context, const Exchange& exchange) {
  return context.access.scope(exchange.request());
}

}  // namespace

Keeping::Keeping(ApiContext& context, const Exchange& exchange, const Fields& body)
    : context_(context),
      exchange_(exchange),
      body_(body),
      wanted_(body.boolean("store").value_or(context.state != nullptr)),
      previous_(body.string("previous_response_id").value_or("")) {
  if (wanted_) state_of(context, "store");
  if (!body.has("previous_response_id")) return;
  const std::string param = body.path("previous_response_id");
  auto items = ResponseStore(state_of(context, param)).conversation(scope_of(context, exchange), previous_);
  if (!items) {
    throw ApiError(400,
                   fmt::format("{}: \"{}\", or a response before it, is not there", param, previous_.substr(0, 100)),
                   param, "previous_response_not_found");
  }
  history_ = *std::move(items);
}

void Keeping::keep(const Json& response) const {
  if (!wanted_) return;
  const Json items = kept_items(*body_.find("input"), response["id"].get<std::string>());
  ResponseStore(*context_.state).add(scope_of(context_, exchange_), previous_, items, response);
}

void openai_find_response(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/responses/{id}", exchange.request().path);
  if (exchange.request().query_field("stream").value_or("false") == "true") {
    throw ApiError(400, "stream: a response that is kept comes whole", "stream", "unsupported_field");
  }
  const auto response = ResponseStore(state_of(context, {})).find(scope_of(context, exchange), id);
  if (!response) not_found(id);
  send_json(exchange, *response);
}

void openai_delete_response(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/responses/{id}", exchange.request().path);
  if (!ResponseStore(state_of(context, {})).remove(scope_of(context, exchange), id)) not_found(id);
  send_json(exchange, {{"id", id}, {"object", "response"}, {"deleted", true}});
}

void openai_response_items(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/responses/{id}/input_items", exchange.request().path);
  const ListPage page = read_page(exchange.request(), 20, 100);
  auto items = ResponseStore(state_of(context, {})).input_items(scope_of(context, exchange), id);
  if (!items) not_found(id);
  send_json(exchange, page_json(*std::move(items), page));
}

void openai_cancel_response(ApiContext& context, Exchange& exchange) {
  const std::string id = route_id("/v1/responses/{id}/cancel", exchange.request().path);
  if (!ResponseStore(state_of(context, {})).find(scope_of(context, exchange), id)) not_found(id);
  throw ApiError(400, "only responses in the background can be cancelled; end the connection of one that is answered");
}

}  // namespace minicpm::server
