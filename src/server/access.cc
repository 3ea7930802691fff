#include "server/access.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace minicpm::server {
namespace {

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

/// "localhost:8080" -> "localhost", "[::1]:8080" -> "[::1]".
std::string host_name(std::string_view authority) {
  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  return lower_case(authority.substr(0, colon));
}

bool is_ipv4_loopback(std::string_view name) {
  return name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  const std::string name = lower_case(host);
  return name == "localhost" || name == "::1" || name == "[::1]" || is_ipv4_loopback(name);
}

Access::Access(AccessOptions options, bool loopback) : options_(std::move(options)), loopback_(loopback) {
  for (const std::string& key : options_.api_keys)
    keys_.push_back(digest(key));
  for (std::string& host : options_.allowed_hosts)
    host = lower_case(host);
}

Access::Digest Access::digest(std::string_view key) {
  Digest result;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), result.data());
  return result;
}

bool Access::allowed_origin(std::string_view origin) const {
  return std::ranges::any_of(options_.cors_origins,
                             [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

void Access::check_site(const HttpRequest& request) const {
  const std::string_view host = request.header("host");
  const std::string name = host_name(host);
  if (loopback_ && !host.empty() && !is_loopback_host(name) &&
      std::ranges::find(options_.allowed_hosts, name) == options_.allowed_hosts.end()) {
    throw ApiError(421, "this server is for this machine only; the header Host names another (--allow-host)");
  }
  const std::string_view origin = request.header("origin");
  if (origin.empty() || allowed_origin(origin)) return;
  // A page that this server itself gave out has the server's own address as its origin.
  if (!host.empty() && (origin == "http://" + std::string(host) || origin == "https://" + std::string(host))) return;
  throw ApiError(403, "pages of other sites may not use this server (--cors)");
}

std::string_view Access::key_of(const HttpRequest& request) {
  if (const std::string_view key = request.header("x-api-key"); !key.empty()) return key;
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view field = request.header("authorization");
  if (lower_case(field.substr(0, kBearer.size())) == kBearer) return field.substr(kBearer.size());
  // Pages cannot set headers of a WebSocket, so that OpenAI's browser clients name the key as a protocol.
  constexpr std::string_view kProtocol = "openai-insecure-api-key.";
  for (const std::string_view protocol : request.list("sec-websocket-protocol")) {
    if (protocol.starts_with(kProtocol)) return protocol.substr(kProtocol.size());
  }
  return {};
}

std::string Access::scope(const HttpRequest& request) const {
  if (request.left_by) return *request.left_by;
  if (keys_.empty()) return {};
  const Digest found = digest(key_of(request));
  return {found.begin(), found.end()};
}

// Digests are compared, so that the time says nothing about a key, not even its length.
void Access::check_key(const HttpRequest& request) const {
  if (keys_.empty()) return;
  const std::string_view given = key_of(request);
  if (given.empty()) throw ApiError(401, "this server needs an API key", {}, "missing_api_key");
  const Digest found = digest(given);
  bool known = false;
  for (const Digest& key : keys_)
    known |= CRYPTO_memcmp(key.data(), found.data(), found.size()) == 0;
  if (!known) throw ApiError(401, "the API key is not known", {}, "invalid_api_key");
}

std::vector<Header> Access::cors_headers(const HttpRequest& request) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !allowed_origin(origin)) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Access-Control-Expose-Headers", "X-Request-Id"},
          {"Vary", "Origin"}};
}

std::vector<Header> Access::preflight_headers(const HttpRequest& request) const {
  std::vector<Header> headers = cors_headers(request);
  if (headers.empty()) return headers;
  // The client names the headers it will send; names are tokens, so nothing else is passed on.
  std::string asked(request.header("access-control-request-headers"));
  const bool plain = std::ranges::all_of(asked, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == ',' ||
           c == ' ' || c == '_';
  });
  if (asked.empty() || !plain) asked = "authorization, content-type, x-api-key";
  headers.push_back({"Access-Control-Allow-Headers", asked});
  headers.push_back({"Access-Control-Allow-Methods", "GET, POST, DELETE"});
  headers.push_back({"Access-Control-Max-Age", "600"});
  return headers;
}

}  // namespace minicpm::server
