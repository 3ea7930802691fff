#include "hub/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "base/file_map.h"
#include "io/hub_cache.h"

namespace minicpm::hub {
namespace {

constexpr size_t kMaxTokenBytes = 4096;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string trimmed(std::string text) {
  constexpr const char* kBlanks = " \t\r\n";
  text.erase(0, std::min(text.find_first_not_of(kBlanks), text.size()));
  text.erase(text.find_last_not_of(kBlanks) + 1);
  return text;
}

std::string read_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const std::string token = trimmed(variable(name)); !token.empty()) return token;
  }
  const std::string named = variable("HF_TOKEN_PATH");
  const std::filesystem::path file = named.empty() ? hub_home_folder() / "token" : std::filesystem::path(named);
  std::error_code error;
  return std::filesystem::is_regular_file(file, error) ? trimmed(read_file(file, kMaxTokenBytes)) : "";
}

bool is_on(const std::string& value) {
  return value == "1" || value == "true" || value == "TRUE" || value == "yes" || value == "YES" || value == "on" ||
         value == "ON";
}

}  // namespace

HubSettings settings_from_environment() {
  HubSettings settings;
  if (std::string endpoint = trimmed(variable("HF_ENDPOINT")); !endpoint.empty()) {
    while (endpoint.ends_with('/'))
      endpoint.pop_back();
    if (!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) {
      fail(ErrorCode::kInvalidRequest, "HF_ENDPOINT must begin with https:// or http://, but is \"{}\"", endpoint);
    }
    settings.endpoint = endpoint;
  }
  settings.token = read_token();
  // The token itself is never part of a message.
  const bool plain = std::ranges::all_of(settings.token, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!plain) fail(ErrorCode::kInvalidRequest, "the hub's token (HF_TOKEN or its file) has characters no token has");
  settings.cache = hub_cache_folder();
  settings.offline = is_on(variable("HF_HUB_OFFLINE"));
  return settings;
}

bool Attempts::again(const std::string& wanted_seconds) {
  if (++failed_ >= settings_.attempts) return false;
  constexpr int kMostDoublings = 16;
  auto pause = settings_.first_pause * (1 << std::min(failed_ - 1, kMostDoublings));
  int seconds = 0;
  const auto [end, error] =
      std::from_chars(wanted_seconds.data(), wanted_seconds.data() + wanted_seconds.size(), seconds);
  if (error == std::errc() && seconds >= 0) pause = std::max<decltype(pause)>(pause, std::chrono::seconds(seconds));
  const auto until = std::chrono::steady_clock::now() + std::min<decltype(pause)>(pause, settings_.longest_pause);
  constexpr std::chrono::milliseconds kStep(50);  // how soon a cancellation is seen
  while (true) {
    if (cancel_ != nullptr && cancel_->load()) fail(ErrorCode::kCancelled, "cancelled");
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= left.zero()) return true;
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, kStep));
  }
}

bool is_passing_failure(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

}  // namespace minicpm::hub
