#include "server/responses.h"

#include <utility>

#include "server/response_items.h"
#include "server/stored_responses.h"

namespace minicpm::server {
namespace {

/// Puts the output together item by item, and tells of it in events where they are wanted.
class Output {
 public:
  /// `keep` gets the whole response before the client does.
  Output(Exchange& exchange, const ResponseCall& call, std::function<void(const Json&)> keep)
      : exchange_(exchange),
        call_(call),
        keep_(std::move(keep)),
        stream_(exchange, kEventStream),
        created_(unix_time()) {}

  void piece(const TextDelta& delta) {
    begin();
    if (delta.call) return call_piece(delta);
    open(delta.reasoning ? Kind::kReasoning : Kind::kMessage);
    text_ += delta.text;
    Json event = {{"content_index", 0}, {"delta", delta.text}};
    if (kind_ == Kind::kMessage) event["logprobs"] = Json::array();
    send_of_item(kind_ == Kind::kMessage ? "response.output_text.delta" : "response.reasoning_text.delta", event);
  }

  void finish(const ChatResult& result) {
    begin();
    const bool cut = result.finish_reason == FinishReason::kLength;
    if (output_.empty() && kind_ == Kind::kNone) open(Kind::kMessage);
    close(cut && !(kind_ == Kind::kCall && result.tool_calls.back().complete) ? "incomplete" : "completed");
    Json response = response_json(cut ? "incomplete" : "completed");
    if (cut) response["incomplete_details"] = {{"reason", "max_output_tokens"}};
    const Usage& usage = result.usage;
    response["usage"] = {
        {"input_tokens", usage.prompt_tokens},
        {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
        {"output_tokens", usage.completion_tokens},
        {"output_tokens_details", {{"reasoning_tokens", reasoning_tokens(*call_.model, call_.chat, result)}}},
        {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
    keep_(response);
    if (!call_.stream) return send_json(exchange_, response);
    send(cut ? "response.incomplete" : "response.completed", {{"response", std::move(response)}});
    stream_.end();
  }

 private:
  enum class Kind { kNone, kReasoning, kMessage, kCall };

  Json response_json(const char* status) const {
    Json response = {{"id", answer_id("resp_", exchange_)},
                     {"object", "response"},
                     {"created_at", created_},
                     {"status", status},
                     {"error", nullptr},
                     {"incomplete_details", nullptr},
                     {"model", call_.model->name},
                     {"output", output_},
                     {"usage", nullptr}};
    response.update(call_.echo);
    return response;
  }

  void send(const char* type, Json data) {
    if (!call_.stream) return;
    Json event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(data);
    stream_.event(event, type);
  }

  void send_of_item(const char* type, Json data) {
    data["item_id"] = item_["id"];
    data["output_index"] = output_.size();
    send(type, std::move(data));
  }

  void begin() {
    if (std::exchange(begun_, true)) return;
    send("response.created", {{"response", response_json("in_progress")}});
    send("response.in_progress", {{"response", response_json("in_progress")}});
  }

  std::string item_id(const char* prefix) const {
    return fmt::format("{}_{}", answer_id(prefix, exchange_), output_.size());
  }

  Json part_json() const {
    if (kind_ == Kind::kReasoning) return {{"type", "reasoning_text"}, {"text", text_}};
    return {{"type", "output_text"}, {"text", text_}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }

  void open(Kind kind) {
    if (kind == kind_) return;
    close("completed");
    kind_ = kind;
    if (kind == Kind::kReasoning) {
      item_ = {{"id", item_id("rs_")}, {"type", "reasoning"}, {"summary", Json::array()}, {"content", Json::array()}};
    } else {
      item_ = {{"id", item_id("msg_")},
               {"type", "message"},
               {"status", "in_progress"},
               {"role", "assistant"},
               {"content", Json::array()}};
    }
    send("response.output_item.added", {{"output_index", output_.size()}, {"item", item_}});
    send_of_item("response.content_part.added", {{"content_index", 0}, {"part", part_json()}});
  }

  void call_piece(const TextDelta& delta) {
    if (!delta.name.empty()) {
      close("completed");
      kind_ = Kind::kCall;
      item_ = {{"id", item_id("fc_")},        {"type", "function_call"}, {"status", "in_progress"},
               {"call_id", item_id("call_")}, {"name", delta.name},      {"arguments", ""}};
      send("response.output_item.added", {{"output_index", output_.size()}, {"item", item_}});
    }
    text_ += delta.text;
    if (!delta.text.empty()) send_of_item("response.function_call_arguments.delta", {{"delta", delta.text}});
  }

  void close(const char* status) {
    if (kind_ == Kind::kNone) return;
    if (kind_ == Kind::kCall) {
      item_["arguments"] = text_;
      send_of_item("response.function_call_arguments.done", {{"name", item_["name"]}, {"arguments", text_}});
    } else {
      Json done = {{"content_index", 0}, {"text", text_}};
      if (kind_ == Kind::kMessage) done["logprobs"] = Json::array();
      send_of_item(kind_ == Kind::kMessage ? "response.output_text.done" : "response.reasoning_text.done", done);
      send_of_item("response.content_part.done", {{"content_index", 0}, {"part", part_json()}});
      item_["content"].push_back(part_json());
    }
    item_["status"] = status;
    send("response.output_item.done", {{"output_index", output_.size()}, {"item", item_}});
    output_.push_back(std::move(item_));
    item_ = nullptr;
    text_.clear();
    kind_ = Kind::kNone;
  }

  Exchange& exchange_;
  const ResponseCall& call_;
  std::function<void(const Json&)> keep_;
  PieceStream stream_;
  int64_t created_;
  int64_t sequence_ = 0;
  bool begun_ = false;
  Kind kind_ = Kind::kNone;  // of the item that is being written
  Json item_;
  std::string text_;  // of the item
  Json output_ = Json::array();
};

}  // namespace

void openai_responses(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = context.models.find(body.string("model").value_or(""));
  const Keeping keeping(context, exchange, body);
  MediaReader media(context.media, model, exchange.cancelled());
  ResponseCall call = read_response_call(body, model, media, keeping.history());
  call.echo["store"] = keeping.wanted();
  Output output(exchange, call, [&](const Json& response) { keeping.keep(response); });
  output.finish(answer(context, exchange, model, call.chat, [&](const TextDelta& delta) { output.piece(delta); }));
}

}  // namespace minicpm::server
