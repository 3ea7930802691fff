#include "server/answering.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <mutex>
#include <new>
#include <random>
#include <thread>
#include <utility>

#include "base/error.h"
#include "models/loaded_model.h"

namespace minicpm::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1024;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Holds back blanks that may turn out to be the end of a part, which a result does not have.
class WithoutLastBlanks {
 public:
  explicit WithoutLastBlanks(const OnDelta& next) : next_(next) {}

  void operator()(TextDelta delta) {
    tokens_.insert(tokens_.end(), delta.tokens.begin(), delta.tokens.end());
    std::ranges::move(delta.logprobs, std::back_inserter(logprobs_));
    if (delta.call) return give(std::move(delta));
    if (delta.reasoning != reasoning_) held_.clear();
    reasoning_ = delta.reasoning;
    held_ += delta.text;
    const size_t last = held_.find_last_not_of(" \t\r\n");
    if (last == std::string::npos) return;
    delta.text = held_.substr(0, last + 1);
    held_.erase(0, last + 1);
    give(std::move(delta));
  }

 private:
  void give(TextDelta delta) {
    delta.tokens = std::exchange(tokens_, {});
    delta.logprobs = std::exchange(logprobs_, {});
    next_(delta);
  }

  const OnDelta& next_;
  bool reasoning_ = false;
  std::string held_;
  std::vector<int32_t> tokens_;  // that were not given on yet
  std::vector<TokenLogprobs> logprobs_;
};

/// Times of an answer's pieces.
class PieceTimes {
 public:
  explicit PieceTimes(Metrics& metrics) : metrics_(metrics) {}
  void piece() {
    const auto now = Clock::now();
    const double seconds = seconds_between(last_, now);
    first_ ? metrics_.add_first_token(seconds) : metrics_.add_next_token(seconds);
    first_ = false;
    last_ = now;
  }

 private:
  Metrics& metrics_;
  Clock::time_point last_ = Clock::now();
  bool first_ = true;
};

ChatResult ask(ApiContext& context, const ServedModel& model, const ChatRequest& request, const OnDelta& on_delta,
               const std::atomic<bool>& cancelled) {
  PieceTimes times(context.metrics);
  const OnDelta none = [](const TextDelta&) {};
  const OnDelta& next = on_delta ? on_delta : none;
  WithoutLastBlanks without_blanks(next);
  const OnDelta emit = [&](const TextDelta& delta) {
    times.piece();
    request.prompt_tokens ? next(delta) : without_blanks(delta);
  };
  ChatResult result;
  try {
    result = model.engine->chat(request, emit, &cancelled);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "out of memory");
  }
  context.metrics.count_tokens(result.usage.prompt_tokens, result.usage.completion_tokens);
  if (result.finish_reason == FinishReason::kCancelled) fail(ErrorCode::kCancelled, "cancelled");
  return result;
}

class Gate {
 public:
  void open() {
    open_ = true;
    open_.notify_all();
  }
  void wait() const { open_.wait(false); }

 private:
  std::atomic<bool> open_{false};
};

/// What the answers of one request share.
struct Shared {
  std::mutex mutex;  // guards what follows and the client's stream
  std::exception_ptr error;
};

}  // namespace

Priority priority_of(const Exchange& exchange) {
  return exchange.request().left_by ? Priority::kBackground : Priority::kInteractive;
}

ChatResult answer(ApiContext& context, Exchange& exchange, const ServedModel& model, const ChatRequest& request,
                  const OnDelta& on_delta) {
  exchange.note.model = model.name;
  ChatRequest scoped = request;
  scoped.cache_scope = context.access.scope(exchange.request());
  scoped.priority = priority_of(exchange);
  ChatResult result = ask(context, model, scoped, on_delta, exchange.cancelled());
  exchange.note.prompt_tokens += result.usage.prompt_tokens;
  exchange.note.completion_tokens += result.usage.completion_tokens;
  return result;
}

std::vector<ChatResult> answers(ApiContext& context, Exchange& exchange, const ServedModel& model,
                                const ChatRequest& request, int count, const OnChoiceDelta& on_delta) {
  exchange.note.model = model.name;
  std::vector<ChatResult> results(static_cast<size_t>(count));
  Shared shared;
  const std::string scope = context.access.scope(exchange.request());
  const auto run = [&](int index, Gate& gate) {
    try {
      ChatRequest choice = request;
      choice.cache_scope = scope;
      choice.priority = priority_of(exchange);
      choice.sampling.seed += static_cast<uint64_t>(index);  // equal seeds would give equal answers
      results[static_cast<size_t>(index)] = ask(
          context, model, choice,
          [&](const TextDelta& delta) {
            gate.open();
            const std::scoped_lock lock(shared.mutex);
            if (on_delta && !shared.error) on_delta(index, delta);
          },
          exchange.cancelled());
    } catch (...) {
      const std::scoped_lock lock(shared.mutex);
      if (!shared.error) shared.error = std::current_exception();
    }
  };
  {
    Gate gate;  // the others take over what the first one computed of the prompt
    std::vector<std::jthread> others;
    struct Opener {
      Gate& gate;
      ~Opener() { gate.open(); }
    } opener{gate};  // before the others are joined
    for (int i = 1; i < count; ++i) {
      others.emplace_back([&, i] {
        gate.wait();
        run(i, gate);
      });
    }
    run(0, gate);
  }
  if (shared.error) std::rethrow_exception(shared.error);
  exchange.note.prompt_tokens += results.front().usage.prompt_tokens;
  for (const ChatResult& result : results)
    exchange.note.completion_tokens += result.usage.completion_tokens;
  return results;
}

int64_t reasoning_tokens(const ServedModel& model, const ChatRequest& request, const ChatResult& result) {
  if (!request.thinking) return 0;
  const auto end = model.model().tokenizer()->token_id("</think>");
  if (!end) return 0;
  return std::ranges::find(result.tokens, *end) - result.tokens.begin();
}

void PieceStream::write(std::string_view text) {
  if (exchange_.answered()) {
    exchange_.write(text);
  } else {
    exchange_.begin({.content_type = content_type_, .body = std::string(text)});
  }
}

void PieceStream::event(const Json& data, std::string_view name) {
  write((name.empty() ? std::string() : fmt::format("event: {}\n", name)) + "data: " + to_text(data) + "\n\n");
}

void PieceStream::line(const Json& data) {
  write(to_text(data) + "\n");
}

void PieceStream::end() {
  exchange_.end();
}

std::string stream_error(ErrorStyle style, const ApiError& error, std::string_view request_id) {
  const std::string body = error_body(style, error, request_id);
  if (style == ErrorStyle::kOllama) return body + "\n";
  return (style == ErrorStyle::kAnthropic ? "event: error\ndata: " : "data: ") + body + "\n\n";
}

void send_json(Exchange& exchange, const Json& json) {
  exchange.send({.body = to_text(json) + "\n"});
}

void read_sampling(const Fields& fields, SamplingParams& params) {
  const auto as_float = [](double value) { return static_cast<float>(value); };
  if (const auto value = fields.number("temperature", 0, 100)) params.temperature = as_float(*value);
  if (const auto value = fields.number("top_p", 0, 1)) params.top_p = as_float(*value);
  // -1 is how some clients say "off".
  if (const auto value = fields.integer("top_k", -1, kMaxCount))
    params.top_k = static_cast<int>(std::max<int64_t>(*value, 0));
  if (const auto value = fields.number("min_p", 0, 1)) params.min_p = as_float(*value);
  for (const char* name : {"repetition_penalty", "repeat_penalty"}) {
    if (const auto value = fields.number(name, 0.01, 100)) params.repetition_penalty = as_float(*value);
  }
  if (const auto value = fields.number("presence_penalty", -2, 2)) params.presence_penalty = as_float(*value);
  if (const auto value = fields.number("frequency_penalty", -2, 2)) params.frequency_penalty = as_float(*value);
  const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX);
  params.seed = seed ? static_cast<uint64_t>(*seed) : std::random_device()();
}

std::vector<std::string> read_stops(const Fields& fields, std::string_view key) {
  std::vector<std::string> stops = fields.strings(key);
  if (stops.size() > kMaxStops) bad_field(fields.path(key), "has more than {} strings", kMaxStops);
  for (const std::string& stop : stops) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      bad_field(fields.path(key), "strings must have 1 to {} bytes", kMaxStopBytes);
    }
  }
  return stops;
}

std::string answer_id(std::string_view prefix, const Exchange& exchange) {
  const std::string& id = exchange.request().id;
  return std::string(prefix) + id.substr(id.find('_') + 1);
}

int64_t unix_time() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string utc_time(int64_t seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

std::string utc_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const auto whole = static_cast<std::time_t>(micros / 1'000'000);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(whole), micros % 1'000'000);
}

}  // namespace minicpm::server
