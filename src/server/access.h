// Who may ask: API keys, the Host header against DNS rebinding, the Origin header against pages of other sites.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"
#include "server/http.h"

namespace minicpm::server {

struct AccessOptions {
  std::vector<std::string> api_keys;       // none: everyone may ask
  std::vector<std::string> cors_origins;   // pages of these sites may ask; "*": all
  std::vector<std::string> allowed_hosts;  // further names that the Host header may have
};

/// Whether an address to listen on can be reached from this machine only.
bool is_loopback_host(std::string_view host);

class Access {
 public:
  /// `loopback`: the server listens on a loopback address. Then the Host header must name this machine, since a page
  /// of another site could have its own name point here.
  Access(AccessOptions options, bool loopback);

  /// Throws ApiError 401, 403, 421.
  void check_site(const HttpRequest& request) const;
  void check_key(const HttpRequest& request) const;
  /// Tells clients with different keys apart: the key's digest, or nothing where everyone may ask.
  std::string scope(const HttpRequest& request) const;

  /// The headers that let a page of an allowed site read the answer.
  std::vector<Header> cors_headers(const HttpRequest& request) const;
  /// Those that answer a browser's question beforehand (OPTIONS).
  std::vector<Header> preflight_headers(const HttpRequest& request) const;

 private:
  bool allowed_origin(std::string_view origin) const;

  using Digest = std::array<unsigned char, 32>;
  static Digest digest(std::string_view key);
  static std::string_view key_of(const HttpRequest& request);

  AccessOptions options_;
  std::vector<Digest> keys_;
  bool loopback_;
};

}  // namespace minicpm::server
