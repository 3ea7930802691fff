#include "server/http.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "server/websocket_frames.h"

namespace minicpm::server {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool has_word(const std::vector<std::string_view>& list, std::string_view word) {
  return std::ranges::any_of(list, [&](std::string_view element) { return same_word(element, word); });
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return std::nullopt;
    result += c;
  }
  return result;
}

std::vector<std::string_view> HttpRequest::list(std::string_view name) const {
  std::vector<std::string_view> elements;
  for (const Header& header : headers) {
    if (header.name != name) continue;
    for (std::string_view rest = header.value; !rest.empty();) {
      std::string_view element = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), element.size() + 1));
      while (!element.empty() && (element.front() == ' ' || element.front() == '\t'))
        element.remove_prefix(1);
      while (!element.empty() && (element.back() == ' ' || element.back() == '\t'))
        element.remove_suffix(1);
      if (!element.empty()) elements.push_back(element);
    }
  }
  return elements;
}

std::optional<std::string> HttpRequest::query_field(std::string_view name) const {
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view field = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), field.size() + 1));
    const size_t equals = field.find('=');
    if (field.substr(0, equals) != name) continue;
    return percent_decoded(equals == std::string_view::npos ? std::string_view() : field.substr(equals + 1));
  }
  return std::nullopt;
}

std::optional<UpgradeProblem> check_upgrade(const HttpRequest& request) {
  const bool wanted = has_word(request.list("upgrade"), "websocket") && has_word(request.list("connection"), "upgrade");
  if (!wanted || request.header("sec-websocket-version") != "13") {
    return UpgradeProblem{426, "this address takes WebSockets (Upgrade: websocket, Sec-WebSocket-Version: 13)"};
  }
  if (request.method != "GET") return UpgradeProblem{400, "a WebSocket begins with GET"};
  if (!request.body.empty()) return UpgradeProblem{400, "a request for a WebSocket has no body"};
  if (!accept_key(request.header("sec-websocket-key"))) {
    return UpgradeProblem{400, "the header Sec-WebSocket-Key must hold 16 bytes in base64"};
  }
  return std::nullopt;
}

std::vector<Header> upgrade_headers() {
  return {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Version", "13"}};
}

WebSocket& Exchange::upgrade(std::string_view) {
  fail(ErrorCode::kUnsupported, "there is no connection that could become a WebSocket");
}

std::string_view HttpRequest::header(std::string_view name) const {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return {};
}

std::string_view reason_phrase(int status) {
  constexpr std::array<std::pair<int, std::string_view>, 26> kPhrases = {{
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {204, "No Content"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {426, "Upgrade Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {507, "Insufficient Storage"},
  }};
  for (const auto& [code, phrase] : kPhrases) {
    if (code == status) return phrase;
  }
  return "Error";
}

}  // namespace minicpm::server
