// HTTP GET for the hub: redirects, a token that stays with its host, limits of time and size.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace minicpm::hub {

struct HttpTimes {
  std::chrono::milliseconds connect{10'000};
  std::chrono::milliseconds stall{30'000};  // without a byte; seen to about a second
};

struct GetRequest {
  std::string url;
  std::string token;    // sent to the host of `url` only; empty: none
  uint64_t offset = 0;  // the first byte wanted
  /// Gets the body of an answer 200 or 206, piece by piece. Returning false ends the transfer.
  std::function<bool(std::string_view piece)> sink;
  /// Called once before the body of such an answer. Returning false ends the transfer.
  std::function<bool(const struct GetReply& head)> on_head;
  const std::atomic<bool>* cancel = nullptr;
};

struct GetReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // of the last answer; names in lower case
  /// Headers of an earlier answer that redirected, where the last one lacks them: the hub names the content there.
  std::map<std::string, std::string> hub_headers;
  std::string error_body;  // the beginning of the body of another status
  bool stopped = false;    // by sink or on_head

  std::string header(const std::string& name) const;
};

/// A failure to connect, to resolve, to stay connected or in time: worth another attempt.
class TransferError : public Error {
 public:
  using Error::Error;
};

/// One connection at a time; used by one thread.
class HttpClient {
 public:
  explicit HttpClient(HttpTimes times);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Follows up to ten redirects, never from https to http. Throws TransferError; Error network for a bad URL, a
  /// certificate that does not hold and wrong redirects; cancelled.
  GetReply get(const GetRequest& request);

 private:
  GetReply get_once(const GetRequest& request, const std::string& url, bool with_token);
  void* curl_;
  HttpTimes times_;
};

/// The whole body, at most `limit_bytes` (else Error network). `reply` has status and headers.
struct TextReply {
  GetReply reply;
  std::string body;
};
TextReply get_text(HttpClient& client, GetRequest request, size_t limit_bytes);

/// Whether the URL is one that a secret may be sent to: https, or a loopback host.
bool may_carry_token(const std::string& url);

/// "host:port" of a URL, for messages.
std::string host_of(const std::string& url);

/// Percent-encodes all but letters, digits, and -._~/
std::string encode_path(std::string_view path);

}  // namespace minicpm::hub
