// Where the hub is, who asks, and how patient the transfers are.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "hub/http_client.h"

namespace minicpm::hub {

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // without a slash at the end
  std::string token;                                // empty: none
  std::filesystem::path cache;                      // io/hub_cache.h says how it is laid out
  bool offline = false;
  int parallel = 4;  // files that are fetched at once
  HttpTimes times;
  int attempts = 6;                             // in a row without a byte
  std::chrono::milliseconds first_pause{1000};  // before the second attempt; doubles each time
  std::chrono::milliseconds longest_pause{60'000};
};

/// From HF_ENDPOINT, HF_TOKEN (or HUGGING_FACE_HUB_TOKEN, or the file $HF_TOKEN_PATH, else $HF_HOME/token),
/// HF_HUB_CACHE and what io/hub_cache.h knows beside it, and HF_HUB_OFFLINE. Throws Error invalid_request for an
/// endpoint that is no http or https URL, and for a token that cannot stand in a header.
HubSettings settings_from_environment();

/// Pauses between attempts: longer each time, and as long as the other side asks for.
class Attempts {
 public:
  Attempts(const HubSettings& settings, const std::atomic<bool>* cancel) : settings_(settings), cancel_(cancel) {}

  /// Some bytes came: the count begins anew.
  void made_progress() { failed_ = 0; }
  /// After a failed attempt: waits and returns true, or false when that was the last one. `wanted_seconds`: of
  /// Retry-After, or empty. Throws Error cancelled.
  bool again(const std::string& wanted_seconds = {});

 private:
  const HubSettings& settings_;
  const std::atomic<bool>* cancel_;
  int failed_ = 0;
};

/// Whether a status says that the other side is busy or broken for now.
bool is_passing_failure(int status);

}  // namespace minicpm::hub
