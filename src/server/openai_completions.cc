#include "server/openai_completions.h"

#include <span>
#include <utility>

#include "models/loaded_model.h"
#include "server/adapters.h"
#include "server/logprobs.h"
#include "server/openai_chat.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxPrompts = 64;
constexpr int kDefaultTokens = 16;  // as OpenAI has it

struct Call {
  const ServedModel* model = nullptr;
  ChatRequest request;  // of each prompt but for the prompt itself
  std::vector<std::vector<int32_t>> prompts;
  int choices = 1;
  bool echo = false, stream = false, include_usage = false;

  const Tokenizer& tokenizer() const { return *model->model().tokenizer(); }
};

std::vector<int32_t> read_ids(const Json& list, const std::string& path) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) bad_field(path, "must hold ids of tokens");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

/// A string, strings, ids, or lists of ids.
std::vector<std::vector<int32_t>> read_prompts(const Fields& body, const Tokenizer& tokenizer) {
  body.require("prompt");
  const Json& prompt = *body.find("prompt");
  const std::string path = body.path("prompt");
  const auto one = [&](const Json& json, const std::string& place) {
    if (json.is_string()) return tokenizer.encode(json.get_ref<const std::string&>(), ParseSpecial::kAll);
    if (!json.is_array()) bad_field(place, "must be a string or ids of tokens, found {}", json.type_name());
    return read_ids(json, place);
  };
  if (prompt.is_array() && prompt.empty()) bad_field(path, "is empty");
  if (!prompt.is_array() || prompt.front().is_number()) return {one(prompt, path)};
  if (prompt.size() > kMaxPrompts) bad_field(path, "has more than {} prompts", kMaxPrompts);
  std::vector<std::vector<int32_t>> prompts;
  for (size_t i = 0; i < prompt.size(); ++i)
    prompts.push_back(one(prompt[i], fmt::format("{}[{}]", path, i)));
  return prompts;
}

void read_settings(const Fields& body, Call& call) {
  SamplingParams& sampling = call.request.sampling;
  sampling = call.model->engine->default_sampling(false, true);
  read_sampling(body, sampling);
  read_logit_bias(body, *call.model, sampling);
  sampling.max_tokens = static_cast<int>(body.integer("max_tokens", 1, kMaxCount).value_or(kDefaultTokens));
  if (const auto value = body.integer("min_tokens", 0, kMaxCount)) sampling.min_new_tokens = static_cast<int>(*value);
  if (const auto top = body.integer("logprobs", 0, 5)) sampling.top_logprobs = static_cast<int>(*top);
  call.request.stop = read_stops(body, "stop");
  call.choices = static_cast<int>(body.integer("n", 1, 8).value_or(1));
  call.echo = body.boolean("echo").value_or(false);
  if (call.echo && sampling.top_logprobs) bad_field(body.path("echo"), "does not go with logprobs");
  call.stream = body.boolean("stream").value_or(false);
  const auto options = body.object("stream_options");
  if (!options) return;
  check_fields(*options, {{"include_usage"}, {"include_obfuscation"}, {}});
  if (!call.stream) bad_field(body.path("stream_options"), "goes with stream only");
  call.include_usage = options->boolean("include_usage").value_or(false);
}

Call read_call(const Fields& body, const ServedModel& model) {
  check_fields(body, {{"model",
                       "lora",
                       "prompt",
                       "max_tokens",
                       "min_tokens",
                       "temperature",
                       "top_p",
                       "top_k",
                       "min_p",
                       "repetition_penalty",
                       "repeat_penalty",
                       "presence_penalty",
                       "frequency_penalty",
                       "logit_bias",
                       "logprobs",
                       "echo",
                       "stop",
                       "n",
                       "seed",
                       "stream",
                       "stream_options"},
                      {"user"},
                      {"suffix"}});
  Call call;
  call.model = &model;
  read_settings(body, call);
  call.prompts = read_prompts(body, call.tokenizer());
  return call;
}

/// OpenAI's older form: parallel lists. `offset`: of the first token in the text, in bytes; moved on.
Json logprobs_json(const Json& list, size_t& offset) {
  if (list.empty()) return nullptr;
  Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(), offsets = Json::array();
  for (const Json& token : list) {
    tokens.push_back(token["token"]);
    logprobs.push_back(token["logprob"]);
    Json best = Json::object();
    for (const Json& other : token["top_logprobs"])
      best[other["token"].get<std::string>()] = other["logprob"];
    top.push_back(best.empty() ? Json(nullptr) : std::move(best));
    offsets.push_back(offset);
    offset += token["bytes"].size();
  }
  return {{"tokens", tokens}, {"token_logprobs", logprobs}, {"top_logprobs", top}, {"text_offset", offsets}};
}

Json envelope(const Exchange& exchange, const Call& call) {
  return {{"id", answer_id("cmpl-", exchange)},
          {"object", "text_completion"},
          {"created", unix_time()},
          {"model", call.model->name},
          {"choices", Json::array()}};
}

/// Sums over the prompts.
class UsageSum {
 public:
  void add(std::span<const ChatResult> results) {
    prompt_ += results.front().usage.prompt_tokens;
    cached_ += results.front().usage.cached_tokens;
    for (const ChatResult& result : results)
      completion_ += result.usage.completion_tokens;
  }
  Json json() const {
    return {{"prompt_tokens", prompt_},
            {"completion_tokens", completion_},
            {"total_tokens", prompt_ + completion_},
            {"prompt_tokens_details", {{"cached_tokens", cached_}}}};
  }

 private:
  int64_t prompt_ = 0, completion_ = 0, cached_ = 0;
};

void answer_whole(ApiContext& context, Exchange& exchange, Call& call) {
  Json body = envelope(exchange, call);
  UsageSum usage;
  for (const auto& prompt : call.prompts) {
    call.request.prompt_tokens = prompt;
    const auto results = answers(context, exchange, *call.model, call.request, call.choices);
    for (const ChatResult& result : results) {
      size_t offset = 0;
      const Json list = LogprobList(call.tokenizer(), call.request).add_rest(result);
      body["choices"].push_back({{"index", body["choices"].size()},
                                 {"text", (call.echo ? call.tokenizer().decode(prompt, false) : "") + result.text},
                                 {"logprobs", logprobs_json(list, offset)},
                                 {"finish_reason", name(result.finish_reason)}});
    }
    usage.add(results);
  }
  body["usage"] = usage.json();
  send_json(exchange, body);
}

/// The chunks of the answers to one prompt.
class Chunks {
 public:
  Chunks(PieceStream& stream, Json& chunk, const Call& call, int first)
      : stream_(stream),
        chunk_(chunk),
        first_(first),
        logprobs_(static_cast<size_t>(call.choices), LogprobList(call.tokenizer(), call.request)),
        offsets_(static_cast<size_t>(call.choices), 0) {}

  void piece(int choice, const TextDelta& delta) {
    send(choice, delta.text, logprobs_[static_cast<size_t>(choice)].add(delta.tokens, delta.logprobs), nullptr);
  }
  void finish(std::span<const ChatResult> results) {
    for (size_t i = 0; i < results.size(); ++i)
      send(static_cast<int>(i), "", logprobs_[i].add_rest(results[i]), name(results[i].finish_reason));
  }
  void send(int choice, const std::string& text, const Json& list, const Json& finish) {
    chunk_["choices"] = Json::array({{{"index", first_ + choice},
                                      {"text", text},
                                      {"logprobs", logprobs_json(list, offsets_[static_cast<size_t>(choice)])},
                                      {"finish_reason", finish}}});
    stream_.event(chunk_);
  }

 private:
  PieceStream& stream_;
  Json& chunk_;
  int first_;
  std::vector<LogprobList> logprobs_;
  std::vector<size_t> offsets_;
};

void answer_streamed(ApiContext& context, Exchange& exchange, Call& call) {
  PieceStream stream(exchange, kEventStream);
  Json chunk = envelope(exchange, call);
  UsageSum usage;
  int first = 0;
  for (const auto& prompt : call.prompts) {
    call.request.prompt_tokens = prompt;
    Chunks chunks(stream, chunk, call, first);
    for (int i = 0; call.echo && i < call.choices; ++i)
      chunks.send(i, call.tokenizer().decode(prompt, false), Json::array(), nullptr);
    const auto results = answers(context, exchange, *call.model, call.request, call.choices,
                                 [&](int choice, const TextDelta& delta) { chunks.piece(choice, delta); });
    chunks.finish(results);
    usage.add(results);
    first += call.choices;
  }
  if (call.include_usage) {
    chunk["choices"] = Json::array();
    chunk["usage"] = usage.json();
    stream.event(chunk);
  }
  stream.write("data: [DONE]\n\n");
  stream.end();
}

}  // namespace

void openai_completions(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = find_adapted(context.models, body);
  Call call = read_call(body, model);
  call.stream ? answer_streamed(context, exchange, call) : answer_whole(context, exchange, call);
}

}  // namespace minicpm::server
