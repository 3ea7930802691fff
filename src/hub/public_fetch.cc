#include "hub/public_fetch.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

#include "base/error.h"

namespace minicpm::hub {
namespace {

constexpr size_t kLongestUrl = 8192;

struct AddressRange {
  std::array<uint8_t, 16> start;
  int bits;
};

bool inside(std::span<const uint8_t> address, const AddressRange& range) {
  for (int bit = 0; bit < range.bits; bit += 8) {
    const int bits = std::min(8, range.bits - bit);
    const auto mask = static_cast<uint8_t>(0xFF << (8 - bits));
    const auto byte = static_cast<size_t>(bit / 8);
    if ((address[byte] & mask) != (range.start[byte] & mask)) return false;
  }
  return true;
}

// IANA's registries of special-purpose addresses, and multicast.
constexpr AddressRange kSpecialV4[] = {
    {{0}, 8},             // this network
    {{10}, 8},            // private
    {{100, 64}, 10},      // shared by the customers of a provider; a cloud's metadata
    {{127}, 8},           // loopback
    {{169, 254}, 16},     // link-local; the metadata of most clouds
    {{172, 16}, 12},      // private
    {{192, 0, 0}, 24},    // protocols
    {{192, 0, 2}, 24},    // documentation
    {{192, 88, 99}, 24},  // relays to IPv6
    {{192, 168}, 16},     // private
    {{198, 18}, 15},      // measurements
    {{198, 51, 100}, 24},
    {{203, 0, 113}, 24},       // documentation
    {{224}, 4},                // multicast
    {{240}, 4},                // reserved, broadcast
    {{168, 63, 129, 16}, 32},  // Azure's host
};
constexpr AddressRange kGlobalV6 = {{0x20}, 3};  // all that is given out for use in the internet
constexpr AddressRange kSpecialV6[] = {
    {{0x20, 0x01, 0x00}, 23},        // protocols; Teredo
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02}, 16},              // stands for an IPv4 address
    {{0x3f, 0xff}, 20},              // documentation
};

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Url = std::unique_ptr<CURLU, CurlDeleter>;

std::string part(const Url& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) return "";
  const std::string result = text;
  curl_free(text);
  return result;
}

/// `location` as `base` has it. The library that judges a URL is the one that uses it; what others read in another way
/// (backslashes, control characters) is refused.
Url resolve(const std::string& base, const std::string& location) {
  const bool plain = location.size() <= kLongestUrl &&
                     std::ranges::all_of(location, [](unsigned char c) { return c > ' ' && c < 0x7f && c != '\\'; });
  Url url(curl_url());
  const bool good = plain && url && (base.empty() || curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) == 0) &&
                    curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) == CURLUE_OK;
  if (!good) fail(ErrorCode::kRefused, "not a URL that can be fetched");
  return url;
}

void check_url(const Url& url, const FetchOptions& options) {
  const std::string scheme = part(url, CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") fail(ErrorCode::kRefused, "only http and https are fetched");
  if (!part(url, CURLUPART_USER).empty() || !part(url, CURLUPART_PASSWORD).empty()) {
    fail(ErrorCode::kRefused, "a URL with a user name is not fetched");
  }
  const int port = std::atoi(part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT).c_str());
  if (std::ranges::find(options.ports, port) == options.ports.end()) {
    fail(ErrorCode::kRefused, "port {} is not one that may be asked", port);
  }
}

/// One answer as it comes.
struct Transfer {
  const FetchOptions& options;
  const std::atomic<bool>* cancel;
  std::string body = {};
  bool refused = false, too_large = false;
};

curl_socket_t open_checked(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  sockaddr_storage storage{};
  std::memcpy(&storage, &address->addr, std::min<size_t>(address->addrlen, sizeof storage));
  std::span<const uint8_t> bytes;
  if (address->family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    bytes = {reinterpret_cast<const uint8_t*>(&v4.sin_addr), 4};
  } else if (address->family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    bytes = {reinterpret_cast<const uint8_t*>(&v6.sin6_addr), 16};
  }
  if (bytes.empty() || !transfer.options.allowed(bytes)) {
    transfer.refused = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

size_t take_body(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.too_large = size > transfer.options.limit_bytes - transfer.body.size();
  if (transfer.too_large) return 0;  // ends the transfer
  transfer.body.append(data, size);
  return size;
}

int watch_transfer(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* cancel = static_cast<Transfer*>(user)->cancel;
  return cancel != nullptr && cancel->load() ? 1 : 0;
}

using Deadline = std::chrono::steady_clock::time_point;

/// Performs a transfer on a multi handle, which looks at the cancelling every 20 ms; the easy interface does so once a
/// second.
CURLcode perform(CURL* curl, const Transfer& transfer) {
  const std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi(curl_multi_init(), curl_multi_cleanup);
  if (multi == nullptr) return CURLE_OUT_OF_MEMORY;
  curl_multi_add_handle(multi.get(), curl);
  CURLcode result = CURLE_ABORTED_BY_CALLBACK;
  for (int running = 1; !(transfer.cancel != nullptr && transfer.cancel->load());) {
    if (curl_multi_perform(multi.get(), &running) != CURLM_OK) break;
    if (running == 0) {
      int left = 0;
      if (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) result = message->data.result;
      break;
    }
    curl_multi_poll(multi.get(), nullptr, 0, 20, nullptr);
  }
  curl_multi_remove_handle(multi.get(), curl);
  return result;
}

[[noreturn]] void fail_transfer(CURLcode code, const Transfer& transfer) {
  if (transfer.cancel != nullptr && transfer.cancel->load()) fail(ErrorCode::kCancelled, "cancelled");
  if (transfer.too_large) {
    fail(ErrorCode::kUnsupported, "the file at this URL is larger than {} bytes", transfer.options.limit_bytes);
  }
  if (transfer.refused) fail(ErrorCode::kRefused, "this URL leads to an address that is not public");
  if (code == CURLE_OPERATION_TIMEDOUT) {
    fail(ErrorCode::kTimeout, "the URL gave no whole file within {} seconds",
         std::chrono::duration<double>(transfer.options.time).count());
  }
  fail(ErrorCode::kNetwork, "the URL cannot be fetched: {}", curl_easy_strerror(code));
}

/// One request. What it redirects to, or nothing when the body is that of the file.
std::optional<std::string> get(const Url& url, Transfer& transfer, Deadline deadline) {
  const std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  if (!curl) fail(ErrorCode::kOutOfMemory, "out of memory");
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  if (left.count() <= 0) fail_transfer(CURLE_OPERATION_TIMEDOUT, transfer);
  std::unique_ptr<curl_slist, CurlDeleter> names;
  for (const std::string& name : transfer.options.known_names)
    names.reset(curl_slist_append(names.release(), name.c_str()));
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl.get(), option, value); };
  const std::string text = part(url, CURLUPART_URL);
  set(CURLOPT_URL, text.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_PROXY, "");  // none, whatever the environment says: it would connect to whatever it is told
  set(CURLOPT_RESOLVE, names.get());
  set(CURLOPT_USERAGENT, "minicpm");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // a name service that hangs does not keep a transfer that is cancelled
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
  set(CURLOPT_OPENSOCKETFUNCTION, open_checked);
  set(CURLOPT_OPENSOCKETDATA, &transfer);
  set(CURLOPT_WRITEFUNCTION, take_body);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, watch_transfer);
  set(CURLOPT_XFERINFODATA, &transfer);
  transfer.body.clear();
  const CURLcode code = perform(curl.get(), transfer);
  if (code != CURLE_OK) fail_transfer(code, transfer);
  long status = 0;
  char* location = nullptr;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl.get(), CURLINFO_REDIRECT_URL, &location);
  if (location != nullptr) return std::string(location);
  if (status != 200) fail(ErrorCode::kNetwork, "the URL was answered with status {}", status);
  return {};
}

}  // namespace

bool is_public_address(std::span<const uint8_t> address) {
  const auto in = [&](const AddressRange& range) { return inside(address, range); };
  if (address.size() == 4) return std::ranges::none_of(kSpecialV4, in);
  return address.size() == 16 && in(kGlobalV6) && std::ranges::none_of(kSpecialV6, in);
}

std::string fetch_public(const std::string& url, const FetchOptions& options, const std::atomic<bool>* cancel) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Deadline deadline = std::chrono::steady_clock::now() + options.time;
  Transfer transfer{options, cancel};
  Url next = resolve("", url);
  for (int i = 0; i <= options.redirects; ++i) {
    check_url(next, options);
    const auto location = get(next, transfer, deadline);
    if (!location) return std::move(transfer.body);
    const bool secure = part(next, CURLUPART_SCHEME) == "https";
    next = resolve(part(next, CURLUPART_URL), *location);
    if (secure && part(next, CURLUPART_SCHEME) != "https") {
      fail(ErrorCode::kRefused, "the URL redirects from https to http");
    }
  }
  fail(ErrorCode::kNetwork, "the URL redirects more than {} times", options.redirects);
}

}  // namespace minicpm::hub
