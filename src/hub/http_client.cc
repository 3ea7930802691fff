#include "hub/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>

namespace minicpm::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxErrorBody = 4096;
constexpr size_t kMaxHeaders = 200;

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

Url parse_url(const std::string& text) {
  Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) {
    fail(ErrorCode::kNetwork, "\"{}\" is not a URL", text.substr(0, 200));
  }
  return url;
}

std::string part(const Url& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) return "";
  const std::string result = text;
  curl_free(text);
  return result;
}

/// What a token belongs to.
std::string origin_of(const std::string& text) {
  const Url url = parse_url(text);
  return part(url, CURLUPART_SCHEME) + "://" + part(url, CURLUPART_HOST) + ":" +
         part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string resolve(const std::string& base, const std::string& location) {
  const Url url = parse_url(base);
  if (curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) {
    fail(ErrorCode::kNetwork, "{}: redirects to \"{}\", which is not a URL", host_of(base), location.substr(0, 200));
  }
  const std::string scheme = part(url, CURLUPART_SCHEME);
  if (scheme != "https" && !(scheme == "http" && base.starts_with("http://"))) {
    fail(ErrorCode::kNetwork, "{}: redirects to an address of {}, which is refused", host_of(base), scheme);
  }
  return part(url, CURLUPART_URL);
}

/// What curl's callbacks write to.
struct Transfer {
  const GetRequest& request;
  const HttpTimes& times;
  GetReply reply = {};
  bool body_begun = false;
  curl_off_t bytes = 0;  // that had come at the last look
  std::chrono::steady_clock::time_point last_byte = std::chrono::steady_clock::now();
  bool stalled = false;

  bool good() const { return reply.status == 200 || reply.status == 206; }
};

size_t take_header(char* data, size_t, size_t size, void* user) {
  auto& reply = static_cast<Transfer*>(user)->reply;
  std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {  // also after a 1xx or a proxy's own answer
    reply.headers.clear();
    const size_t blank = line.find(' ');
    reply.status = blank == std::string_view::npos ? 0 : std::atoi(std::string(line.substr(blank + 1, 3)).c_str());
    return size;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || reply.headers.size() >= kMaxHeaders) return size;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view value = line.substr(colon + 1);
  constexpr std::string_view kBlanks = " \t\r\n";
  value.remove_prefix(std::min(value.find_first_not_of(kBlanks), value.size()));
  value = value.substr(0, value.find_last_not_of(kBlanks) + 1);
  reply.headers[name] = value;
  return size;
}

size_t take_body(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view piece(data, size);
  if (!transfer.good()) {
    std::string& body = transfer.reply.error_body;
    body += piece.substr(0, kMaxErrorBody - std::min(kMaxErrorBody, body.size()));
    return size;
  }
  bool go_on = true;
  if (!transfer.body_begun && transfer.request.on_head) go_on = transfer.request.on_head(transfer.reply);
  transfer.body_begun = true;
  if (go_on && transfer.request.sink) go_on = transfer.request.sink(piece);
  transfer.reply.stopped = !go_on;
  return go_on ? size : 0;  // 0 ends the transfer
}

/// Called about once a second and whenever something comes; 1 ends the transfer. curl's own limit of low speed looks at
/// an average, which falls long after the last byte.
int watch_transfer(void* user, curl_off_t, curl_off_t bytes, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  const auto* cancel = transfer.request.cancel;
  if (cancel != nullptr && cancel->load()) return 1;
  const auto now = std::chrono::steady_clock::now();
  if (bytes != transfer.bytes) transfer.last_byte = now;
  transfer.bytes = bytes;
  transfer.stalled = now - transfer.last_byte >= transfer.times.stall;
  return transfer.stalled ? 1 : 0;
}

bool worth_another_attempt(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderLines = std::unique_ptr<curl_slist, ListDeleter>;

void add_line(HeaderLines& lines, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(lines.get(), line.c_str())) {
    static_cast<void>(lines.release());
    lines.reset(longer);
  }
}

HeaderLines header_lines(const GetRequest& request, bool with_token) {
  HeaderLines lines;
  if (with_token && !request.token.empty()) add_line(lines, "Authorization: Bearer " + request.token);
  if (request.offset > 0) add_line(lines, fmt::format("Range: bytes={}-", request.offset));
  return lines;
}

}  // namespace

std::string GetReply::header(const std::string& name) const {
  for (const auto* list : {&headers, &hub_headers}) {
    if (const auto found = list->find(name); found != list->end()) return found->second;
  }
  return "";
}

HttpClient::HttpClient(HttpTimes times) : times_(times) {
  static std::once_flag once;  // the library's own set-up, which must not run twice at once
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  curl_ = curl_easy_init();
  if (curl_ == nullptr) fail(ErrorCode::kOutOfMemory, "out of memory");
}

HttpClient::~HttpClient() {
  curl_easy_cleanup(curl_);
}

GetReply HttpClient::get_once(const GetRequest& request, const std::string& url, bool with_token) {
  Transfer transfer{request, times_};
  const HeaderLines lines = header_lines(request, with_token);
  char text[CURL_ERROR_SIZE] = "";
  curl_easy_reset(curl_);  // connections stay
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl_, option, value); };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTPHEADER, lines.get());
  set(CURLOPT_USERAGENT, "minicpm");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, text);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(times_.connect.count()));
  set(CURLOPT_HEADERFUNCTION, take_header);
  set(CURLOPT_HEADERDATA, &transfer);
  set(CURLOPT_WRITEFUNCTION, take_body);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, watch_transfer);
  set(CURLOPT_XFERINFODATA, &transfer);
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && *file != '\0') set(CURLOPT_CAINFO, file);
  const CURLcode code = curl_easy_perform(curl_);
  if (transfer.stalled) {
    throw TransferError(ErrorCode::kNetwork, fmt::format("{}: nothing came for {} seconds", host_of(url),
                                                         std::chrono::duration<double>(times_.stall).count()));
  }
  if (code == CURLE_ABORTED_BY_CALLBACK) fail(ErrorCode::kCancelled, "cancelled");
  if (code == CURLE_OK || transfer.reply.stopped) return std::move(transfer.reply);
  const std::string sentence = fmt::format("{}: {}", host_of(url), *text != '\0' ? text : curl_easy_strerror(code));
  if (worth_another_attempt(code)) throw TransferError(ErrorCode::kNetwork, sentence);
  fail(ErrorCode::kNetwork, "{}", sentence);
}

GetReply HttpClient::get(const GetRequest& request) {
  const std::string origin = origin_of(request.url);
  std::string url = request.url;
  std::map<std::string, std::string> hub_headers;
  for (int i = 0; i <= kMaxRedirects; ++i) {
    GetReply reply = get_once(request, url, origin_of(url) == origin && may_carry_token(url));
    const std::string location = reply.header("location");
    if (reply.status < 300 || reply.status >= 400 || location.empty()) {
      reply.hub_headers = std::move(hub_headers);
      return reply;
    }
    hub_headers.insert(reply.headers.begin(), reply.headers.end());
    hub_headers.erase("etag");  // of the redirection itself
    url = resolve(url, location);
  }
  fail(ErrorCode::kNetwork, "{}: redirects more than {} times", host_of(request.url), kMaxRedirects);
}

TextReply get_text(HttpClient& client, GetRequest request, size_t limit_bytes) {
  TextReply result;
  request.sink = [&](std::string_view piece) {
    if (piece.size() > limit_bytes - result.body.size()) return false;
    result.body += piece;
    return true;
  };
  result.reply = client.get(request);
  if (result.reply.stopped) {
    fail(ErrorCode::kNetwork, "{}: sent more than {} bytes", host_of(request.url), limit_bytes);
  }
  return result;
}

bool may_carry_token(const std::string& url) {
  const Url parsed = parse_url(url);
  const std::string host = part(parsed, CURLUPART_HOST);
  return part(parsed, CURLUPART_SCHEME) == "https" || host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}

std::string host_of(const std::string& url) {
  const Url parsed = parse_url(url);
  const std::string port = part(parsed, CURLUPART_PORT);
  return part(parsed, CURLUPART_HOST) + (port.empty() ? "" : ":" + port);
}

std::string encode_path(std::string_view path) {
  std::string result;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    result += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return result;
}

}  // namespace minicpm::hub
