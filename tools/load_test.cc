// Asks any server with OpenAI's chat completions, many requests at once, and reports throughput and latencies.
#include <curl/curl.h>
#include <fmt/format.h>
#include <openssl/evp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/json.h"

namespace {

using Clock = std::chrono::steady_clock;
using minicpm::Json;

struct Settings {
  std::string url, model, prompt = "Tell me a long story.", image, key;
  int concurrency = 8, requests = 64, max_tokens = 128;
  double timeout_seconds = 600;
  std::optional<double> temperature = {};  // none: the server's own
  bool numbered = false;                   // each prompt begins with its number
  bool json = false;
};

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Seconds of one answer, or of many put together.
struct Times {
  std::vector<double> first_piece, between_pieces, whole;
  int64_t tokens = 0, prompt_tokens = 0, answered = 0;
  std::vector<std::string> errors;

  void add(const Times& other) {
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    append(first_piece, other.first_piece);
    append(between_pieces, other.between_pieces);
    append(whole, other.whole);
    append(errors, other.errors);
    tokens += other.tokens;
    prompt_tokens += other.prompt_tokens;
    answered += other.answered;
  }
};

/// An event stream as it comes in.
class Answer {
 public:
  void take(std::string_view bytes) {
    pending_ += bytes;
    for (size_t end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n')) {
      line(std::string_view(pending_).substr(0, end));
      pending_.erase(0, end + 1);
    }
  }

  /// `problem`: what the transfer itself says, or empty.
  Times finish(long status, const std::string& problem) {
    Times times = std::move(times_);
    const std::string error = !problem.empty()  ? problem
                              : status != 200   ? fmt::format("status {}: {}", status, other_ + pending_)
                              : !error_.empty() ? error_
                              : !done_          ? "the stream ended without [DONE]"
                                                : "";
    if (!error.empty()) {
      times = {};
      times.errors.push_back(error.substr(0, 300));
      return times;
    }
    times.whole.push_back(seconds_between(start_, Clock::now()));
    times.tokens = std::max(times.tokens, pieces_);  // servers that send no usage: a piece is a token or more
    times.answered = 1;
    return times;
  }

 private:
  void line(std::string_view text) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    constexpr std::string_view kData = "data: ";
    if (!text.starts_with(kData)) {
      other_ += text;
      return;
    }
    text.remove_prefix(kData.size());
    if (text == "[DONE]") {
      done_ = true;
      return;
    }
    const Json event = Json::parse(text, nullptr, false);
    if (event.is_object()) take_event(event);
  }

  void take_event(const Json& event) {
    if (event.contains("error")) error_ = event["error"].dump();
    if (const auto usage = event.find("usage"); usage != event.end() && usage->is_object()) {
      times_.tokens = usage->value("completion_tokens", int64_t{0});
      times_.prompt_tokens = usage->value("prompt_tokens", int64_t{0});
    }
    for (const Json& choice : event.value("choices", Json::array())) {
      const Json delta = choice.value("delta", Json::object());
      for (const char* key : {"content", "reasoning_content"}) {
        const auto text = delta.find(key);
        if (text != delta.end() && text->is_string() && !text->get_ref<const std::string&>().empty()) piece();
      }
    }
  }

  void piece() {
    const auto now = Clock::now();
    (pieces_++ == 0 ? times_.first_piece : times_.between_pieces).push_back(seconds_between(last_, now));
    last_ = now;
  }

  const Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
  Times times_;
  int64_t pieces_ = 0;
  bool done_ = false;
  std::string pending_, other_, error_;
};

size_t take_bytes(char* data, size_t, size_t size, void* user) {
  static_cast<Answer*>(user)->take({data, size});
  return size;
}

std::string base64_of(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // with the zero that is written behind it
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

/// The first request; the others differ in their number at most.
Json body_of(const Settings& settings) {
  Json content = settings.prompt;
  if (!settings.image.empty()) {
    std::ifstream in(settings.image, std::ios::binary);
    if (!in) throw std::runtime_error(settings.image + ": cannot be read");
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    content =
        Json::array({{{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64," + base64_of(bytes)}}}},
                     {{"type", "text"}, {"text", settings.prompt}}});
  }
  Json body = {{"messages", Json::array({{{"role", "user"}, {"content", std::move(content)}}})},
               {"max_tokens", settings.max_tokens},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  if (!settings.model.empty()) body["model"] = settings.model;
  if (settings.temperature) body["temperature"] = *settings.temperature;
  return body;
}

std::string numbered(Json body, int number) {
  Json& content = body["messages"][0]["content"];
  Json& text = content.is_string() ? content : content.back()["text"];
  text = fmt::format("{}. {}", number, text.get_ref<const std::string&>());
  return body.dump();
}

Times ask(CURL* curl, const Settings& settings, const std::string& body, curl_slist* headers) {
  char text[CURL_ERROR_SIZE] = "";
  curl_easy_reset(curl);
  const std::string url = settings.url + "/v1/chat/completions";
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(settings.timeout_seconds * 1000));
  Answer answer;
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  const std::string problem = code == CURLE_OK ? "" : *text != '\0' ? text : curl_easy_strerror(code);
  return answer.finish(status, problem);
}

Times ask_all(const Settings& settings) {
  const Json first = body_of(settings);
  const std::string same = first.dump();
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
      curl_slist_append(nullptr, "Content-Type: application/json"), curl_slist_free_all);
  if (!settings.key.empty()) curl_slist_append(headers.get(), ("Authorization: Bearer " + settings.key).c_str());
  std::atomic<int> next{0};
  std::mutex mutex;
  Times all;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < std::min(settings.concurrency, settings.requests); ++i) {
      threads.emplace_back([&] {
        std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
        for (int i = next++; i < settings.requests; i = next++) {
          const std::string body = settings.numbered ? numbered(first, i) : same;
          const Times times = ask(curl.get(), settings, body, headers.get());
          const std::scoped_lock lock(mutex);
          all.add(times);
        }
      });
    }
  }
  return all;
}

/// The smallest value that at least this share of the values do not exceed (nearest rank), in milliseconds; null
/// without values.
Json percentile_ms(std::vector<double> seconds, double share) {
  if (seconds.empty()) return nullptr;
  std::sort(seconds.begin(), seconds.end());
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(seconds.size())));
  return std::round(seconds[std::max<size_t>(rank, 1) - 1] * 1e5) / 100;
}

Json report(const Settings& settings, const Times& times, double seconds) {
  const auto spread = [](const std::vector<double>& values) {
    return Json{
        {"p50", percentile_ms(values, 0.5)}, {"p99", percentile_ms(values, 0.99)}, {"max", percentile_ms(values, 1)}};
  };
  const auto rate = [&](int64_t count) { return std::round(static_cast<double>(count) / seconds * 100) / 100; };
  return {{"url", settings.url},
          {"concurrency", settings.concurrency},
          {"requests", settings.requests},
          {"answered", times.answered},
          {"errors", times.errors.size()},
          {"seconds", std::round(seconds * 1000) / 1000},
          {"requests_per_second", rate(times.answered)},
          {"prompt_tokens", times.prompt_tokens},
          {"completion_tokens", times.tokens},
          {"completion_tokens_per_second", rate(times.tokens)},
          {"time_to_first_token_ms", spread(times.first_piece)},
          {"inter_token_ms", spread(times.between_pieces)},
          {"answer_ms", spread(times.whole)}};
}

int run(const Settings& settings) {
  const auto start = Clock::now();
  const Times times = ask_all(settings);
  const Json result = report(settings, times, seconds_between(start, Clock::now()));
  if (settings.json) {
    fmt::print("{}\n", result.dump());
  } else {
    for (const auto& [key, value] : result.items())
      fmt::print("{:<30}{}\n", key, value.dump());
  }
  if (!times.errors.empty()) fmt::print(stderr, "first error: {}\n", times.errors.front());
  return times.errors.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Asks a server with OpenAI's chat completions, many requests at once.");
  app.add_option("URL", settings.url, "http://127.0.0.1:8080")->required();
  app.add_option("-m,--model", settings.model, "name of the model; default: the server's first");
  app.add_option("-c,--concurrency", settings.concurrency, "requests at once")->check(CLI::Range(1, 4096));
  app.add_option("-n,--requests", settings.requests, "requests in all")->check(CLI::Range(1, 1'000'000));
  app.add_option("-p,--prompt", settings.prompt, "the question");
  app.add_option("--image", settings.image, "a picture that goes with it");
  app.add_option("--max-tokens", settings.max_tokens, "longest answer")->check(CLI::Range(1, 1'000'000));
  app.add_option("--temperature", settings.temperature, "of the answers; default: the server's own");
  app.add_flag("--numbered", settings.numbered, "begin each prompt with its number, so that little of them is shared");
  app.add_option("--timeout", settings.timeout_seconds, "seconds for one answer")->check(CLI::Range(0.1, 86400.0));
  app.add_option("--api-key", settings.key, "key of the server");
  app.add_flag("--json", settings.json, "print one line of JSON");
  CLI11_PARSE(app, argc, argv);
  while (settings.url.ends_with('/'))
    settings.url.pop_back();
  curl_global_init(CURL_GLOBAL_DEFAULT);
  try {
    return run(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "load_test: {}\n", error.what());
    return 1;
  }
}
