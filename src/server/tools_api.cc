#include "server/tools_api.h"

#include "models/loaded_model.h"
#include "server/openai_chat.h"
#include "text/utf8.h"

namespace minicpm::server {
namespace {

/// Text, or the bytes of a token that is no whole UTF-8.
Json piece_json(const std::string& bytes) {
  if (valid_utf8_prefix(bytes) == bytes.size()) return bytes;
  Json list = Json::array();
  for (const char c : bytes)
    list.push_back(static_cast<unsigned char>(c));
  return list;
}

}  // namespace

void tokenize(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "content", "parse_special", "with_pieces"}, {}, {"add_special"}});
  const ServedModel& model = context.models.find(body.string("model").value_or(""));
  const Tokenizer& tokenizer = *model.model().tokenizer();
  const bool special = body.boolean("parse_special").value_or(true);
  const auto ids =
      tokenizer.encode(body.required_string("content"), special ? ParseSpecial::kAll : ParseSpecial::kNone);
  exchange.note.model = model.name;
  if (!body.boolean("with_pieces").value_or(false)) return send_json(exchange, {{"tokens", ids}});
  Json tokens = Json::array();
  for (const int32_t id : ids)
    tokens.push_back({{"id", id}, {"piece", piece_json(tokenizer.token_bytes(id))}});
  send_json(exchange, {{"tokens", std::move(tokens)}});
}

void detokenize(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "tokens"}, {}, {}});
  const ServedModel& model = context.models.find(body.string("model").value_or(""));
  const Tokenizer& tokenizer = *model.model().tokenizer();
  body.require("tokens");
  std::vector<int32_t> ids;
  for (const Json& id : *body.array("tokens")) {
    const bool known = id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(tokenizer.vocab_size());
    if (!known) {
      bad_field(fmt::format("tokens[{}]", ids.size()), "must be a whole number from 0 to {}",
                tokenizer.vocab_size() - 1);
    }
    ids.push_back(id.get<int32_t>());
  }
  exchange.note.model = model.name;
  send_json(exchange, {{"content", tokenizer.decode(ids, false)}});
}

void apply_template(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = context.models.find(body.string("model").value_or(""));
  MediaReader media(context.media, model, exchange.cancelled());
  const OpenAiChat call = read_openai_chat(body, model, media);
  const PreparedPrompt prompt = context.models.prepare(model, call.chat);
  exchange.note.model = model.name;
  send_json(exchange, {{"prompt", model.model().tokenizer()->decode(prompt.input.tokens, false)}});
}

void health(ApiContext&, Exchange& exchange) {
  send_json(exchange, {{"status", "ok"}});
}

}  // namespace minicpm::server
