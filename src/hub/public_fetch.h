// GET of URLs that strangers give: only what is on the public internet is reached, never what only this machine or its
// network can see.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace minicpm::hub {

/// Whether an address (4 bytes of IPv4 or 16 of IPv6) is one of the public internet: neither loopback, link-local (the
/// metadata services of clouds), private, shared, multicast or reserved, nor IPv6 that stands for an IPv4 address.
bool is_public_address(std::span<const uint8_t> address);

struct FetchOptions {
  size_t limit_bytes = 32u << 20;
  std::chrono::milliseconds time{10'000};  // for everything, redirects included
  int redirects = 3;
  std::vector<int> ports = {80, 443};
  /// Which addresses may be connected to. It is asked with the address that the socket is about to be connected to,
  /// for each connection, so that neither a name that resolves to something else the second time nor a redirect gets
  /// around it.
  std::function<bool(std::span<const uint8_t> address)> allowed = is_public_address;
  /// "NAME:PORT:ADDRESS[,ADDRESS]", instead of asking the name service.
  std::vector<std::string> known_names;
};

/// The body of an answer 200. http and https only, no user names, no proxy, no cookies. Throws Error refused for an
/// address, a port or a URL that may not be asked; unsupported for a body that is too large; timeout; network for all
/// else that goes wrong; cancelled. Messages name neither the URL nor an address.
std::string fetch_public(const std::string& url, const FetchOptions& options,
                         const std::atomic<bool>* cancel = nullptr);

}  // namespace minicpm::hub
