#include "server/embeddings.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <string_view>

#include "base/base64.h"
#include "models/loaded_model.h"
#include "server/ollama.h"

namespace minicpm::server {
namespace {

constexpr size_t kMostInputs = 2048;

using Clock = std::chrono::steady_clock;

struct Call {
  const ServedModel* model = nullptr;
  std::vector<std::vector<int32_t>> inputs;
  std::optional<size_t> dimensions;
};

struct Vectors {
  std::vector<std::vector<float>> rows;
  int64_t tokens = 0;
};

int64_t ns_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

/// The ids of a text; special tokens in it do not count.
std::vector<int32_t> ids_of(const ServedModel& model, const std::string& text, const std::string& path) {
  auto ids = model.model().tokenizer()->encode(text, ParseSpecial::kNone);
  if (ids.empty()) bad_field(path, "is empty");
  return ids;
}

bool is_id(const Json& value) {
  return value.is_number_integer();
}

std::vector<int32_t> ids_of(const ServedModel& model, const Json& list, const std::string& path) {
  const int64_t most = model.model().tokenizer()->vocab_size();
  if (list.empty()) bad_field(path, "is empty");
  std::vector<int32_t> ids;
  for (const Json& value : list) {
    const bool known = value.is_number_unsigned() && value.get<uint64_t>() < static_cast<uint64_t>(most);
    if (!known) bad_field(fmt::format("{}[{}]", path, ids.size()), "must be a whole number from 0 to {}", most - 1);
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

/// A text or ids, or several of them.
void read_inputs(const Fields& body, std::string_view key, Call& call) {
  body.require(key);
  const Json& input = *body.find(key);
  const std::string path = body.path(key);
  if (input.is_string()) {
    call.inputs = {ids_of(*call.model, input.get<std::string>(), path)};
    return;
  }
  const Json& list = *body.array(key);
  if (list.empty()) bad_field(path, "is empty");
  if (is_id(list.front())) {
    call.inputs = {ids_of(*call.model, list, path)};
    return;
  }
  if (list.size() > kMostInputs) bad_field(path, "has more than {} texts", kMostInputs);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", path, i);
    if (!list[i].is_string() && !list[i].is_array()) bad_field(place, "must be a string or ids");
    call.inputs.push_back(list[i].is_string() ? ids_of(*call.model, list[i].get<std::string>(), place)
                                              : ids_of(*call.model, list[i], place));
  }
}

void read_dimensions(const Fields& body, Call& call) {
  const int64_t most = call.model->model().config().decoder.hidden_size;
  if (const auto value = body.integer("dimensions", 1, most)) call.dimensions = static_cast<size_t>(*value);
}

/// To the length 1.
void normalise(std::vector<float>& vector) {
  double sum = 0;
  for (const float value : vector)
    sum += static_cast<double>(value) * value;
  if (sum <= 0) return;
  const double scale = 1 / std::sqrt(sum);
  for (float& value : vector)
    value = static_cast<float>(value * scale);
}

Vectors compute(ApiContext& context, Exchange& exchange, const Call& call) {
  Vectors vectors;
  exchange.note.model = call.model->name;
  const std::string scope = context.access.scope(exchange.request());
  for (const auto& ids : call.inputs) {
    std::vector<float> row = call.model->engine->hidden_state(ids, scope, priority_of(exchange), &exchange.cancelled());
    if (call.dimensions) row.resize(*call.dimensions);
    normalise(row);
    vectors.rows.push_back(std::move(row));
    vectors.tokens += static_cast<int64_t>(ids.size());
  }
  exchange.note.prompt_tokens += vectors.tokens;
  context.metrics.count_tokens(vectors.tokens, 0);
  return vectors;
}

/// 0.7f as 0.7, not as the 0.699999988… that it is in double precision.
Json numbers(const std::vector<float>& vector) {
  Json list = Json::array();
  for (const float value : vector) {
    const std::string text = fmt::format("{}", value);
    double number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    list.push_back(number);
  }
  return list;
}

/// The numbers as f32, least significant byte first.
std::string bytes_of(const std::vector<float>& vector) {
  std::string bytes;
  for (const float value : vector) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8)
      bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  return bytes;
}

}  // namespace

void openai_embeddings(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "input", "encoding_format", "dimensions"}, {"user"}, {}});
  const std::string format = body.string("encoding_format").value_or("float");
  if (format != "float" && format != "base64") bad_field(body.path("encoding_format"), "must be float or base64");
  Call call{.model = &context.models.find(body.string("model").value_or(""))};
  read_dimensions(body, call);
  read_inputs(body, "input", call);
  const Vectors vectors = compute(context, exchange, call);
  Json data = Json::array();
  for (const auto& row : vectors.rows) {
    data.push_back({{"object", "embedding"},
                    {"index", data.size()},
                    {"embedding", format == "float" ? numbers(row) : Json(encode_base64(bytes_of(row)))}});
  }
  send_json(exchange, {{"object", "list"},
                       {"data", std::move(data)},
                       {"model", call.model->name},
                       {"usage", {{"prompt_tokens", vectors.tokens}, {"total_tokens", vectors.tokens}}}});
}

void ollama_embed(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "input", "truncate", "dimensions"}, {"options", "keep_alive"}, {}});
  const auto start = Clock::now();
  Call call{.model = &context.models.find(body.required_string("model"))};
  read_keep_alive(context, body, *call.model);
  read_dimensions(body, call);
  read_inputs(body, "input", call);
  const auto room = static_cast<size_t>(call.model->engine->context_tokens());
  if (body.boolean("truncate").value_or(true)) {
    for (auto& ids : call.inputs)
      ids.resize(std::min(ids.size(), room));
  }
  const Vectors vectors = compute(context, exchange, call);
  Json rows = Json::array();
  for (const auto& row : vectors.rows)
    rows.push_back(numbers(row));
  send_json(exchange, {{"model", call.model->name},
                       {"embeddings", std::move(rows)},
                       {"total_duration", ns_since(start)},
                       {"load_duration", 0},
                       {"prompt_eval_count", vectors.tokens}});
}

void ollama_embeddings(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "prompt"}, {"options", "keep_alive"}, {}});
  Call call{.model = &context.models.find(body.required_string("model"))};
  read_keep_alive(context, body, *call.model);
  call.inputs = {ids_of(*call.model, body.required_string("prompt"), body.path("prompt"))};
  send_json(exchange, {{"embedding", numbers(compute(context, exchange, call).rows.front())}});
}

}  // namespace minicpm::server
