#include "server/web_page.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <boost/beast/core/string.hpp>
#include <boost/beast/zlib/inflate_stream.hpp>
#include <charconv>
#include <span>

#include "base/error.h"
#include "server/api_error.h"

namespace minicpm::server {
namespace {

using boost::beast::iequals;

constexpr size_t kGzipHead = 10, kGzipTail = 8;
constexpr size_t kLargestPage = 16u << 20;  // bytes

std::array<unsigned char, SHA256_DIGEST_LENGTH> sha256(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

/// What stands between two texts, `open` and the next `close`.
std::string_view between(std::string_view text, std::string_view open, std::string_view close) {
  const size_t begin = text.find(open);
  const size_t end = begin == std::string_view::npos ? begin : text.find(close, begin + open.size());
  if (end == std::string_view::npos) fail(ErrorCode::kBadFile, "the web page: {} … {} is missing", open, close);
  return text.substr(begin + open.size(), end - begin - open.size());
}

std::string hash_source(std::string_view text) {
  const auto digest = sha256(text);
  std::array<unsigned char, (digest.size() + 2) / 3 * 4 + 1> base64;  // a zero behind it
  EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(digest.size()));
  return fmt::format("'sha256-{}'", reinterpret_cast<const char*>(base64.data()));
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  return begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// The weight of `name` in a header such as Accept, "text/html;q=0.9, */*;q=0.1": 0 if it is not named.
double weight_of(std::string_view list, std::string_view name) {
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view item = list.substr(begin, end - begin);
    begin = end + 1;
    const size_t semicolon = std::min(item.find(';'), item.size());
    if (!iequals(trimmed(item.substr(0, semicolon)), name)) continue;
    const size_t at = item.find("q=", semicolon);
    if (at == std::string_view::npos) return 1;
    double weight = 0;
    std::from_chars(item.data() + at + 2, item.data() + item.size(), weight);
    return weight;
  }
  return 0;
}

std::string tag_of(std::string_view bytes) {
  const auto digest = sha256(bytes);
  std::string tag;
  for (const unsigned char byte : std::span(digest).first(12))
    tag += fmt::format("{:02x}", byte);
  return tag;
}

/// Whether If-None-Match has the tag, strong or weak.
bool has_tag(std::string_view list, std::string_view tag) {
  return trimmed(list) == "*" || (!list.empty() && list.find(tag) != std::string_view::npos);
}

const Header kVary = {"Vary", "Accept, Accept-Encoding"};

struct File {
  std::string_view packed;
  std::string_view text = {};  // what it holds; empty: unpacked when it is asked for
  std::string_view tag;
};

/// The file as the client takes it, or 304 where it has it already.
HttpResponse file_response(const HttpRequest& request, const File& file) {
  const bool gzip = weight_of(request.header("accept-encoding"), "gzip") > 0;
  const std::string tag = fmt::format("\"{}{}\"", file.tag, gzip ? "-gzip" : "");
  HttpResponse response;
  response.headers = {kVary,
                      {"ETag", tag},
                      {"Cache-Control", "no-cache"},  // kept, but asked for each time
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
  if (has_tag(request.header("if-none-match"), tag)) {
    response.status = 304;
    return response;
  }
  if (gzip) response.headers.push_back({"Content-Encoding", "gzip"});
  response.body = gzip                ? std::string(file.packed)
                  : file.text.empty() ? unpack_gzip(file.packed)
                                      : std::string(file.text);
  return response;
}

}  // namespace

std::string unpack_gzip(std::string_view packed) {
  constexpr std::string_view kStart("\x1f\x8b\x08\x00", 4);  // deflate, without further parts of the head
  if (packed.size() < kGzipHead + kGzipTail || !packed.starts_with(kStart)) {
    fail(ErrorCode::kBadFile, "the web page is no plain gzip file");
  }
  const std::string_view tail = packed.substr(packed.size() - kGzipTail);
  size_t size = 0;  // of the contents: the last four bytes, the lowest first
  for (size_t i = 0; i < 4; ++i)
    size |= static_cast<size_t>(static_cast<unsigned char>(tail[4 + i])) << (8 * i);
  if (size > kLargestPage) fail(ErrorCode::kBadFile, "the web page has {} bytes, at most {}", size, kLargestPage);
  std::string text(size, '\0');
  boost::beast::zlib::inflate_stream stream;
  boost::beast::zlib::z_params params;
  params.next_in = packed.data() + kGzipHead;
  params.avail_in = packed.size() - kGzipHead - kGzipTail;
  params.next_out = text.data();
  params.avail_out = text.size();
  boost::beast::error_code error;
  stream.write(params, boost::beast::zlib::Flush::finish, error);
  if (error != boost::beast::zlib::error::end_of_stream || params.avail_out != 0) {
    fail(ErrorCode::kBadFile, "the web page does not unpack: {}", error.message());
  }
  return text;
}

std::string content_security_policy(std::string_view html) {
  return fmt::format(
      "default-src 'none'; script-src 'self' {}; worker-src 'self'; style-src {}; connect-src 'self'; img-src data: "
      "blob:; media-src blob:; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      hash_source(between(html, "<script type=\"module\">", "</script>")),
      hash_source(between(html, "<style>", "</style>")));
}

WebPage::WebPage()
    : html_(unpack_gzip(packed_web_page())), tag_(tag_of(html_)), policy_(content_security_policy(html_)) {
  for (const WebScript& script : packed_web_scripts())
    scripts_.push_back({script, tag_of(script.packed)});
}

HttpResponse WebPage::answer(const HttpRequest& request) const {
  if (weight_of(request.header("accept"), "text/html") == 0) {
    return {.content_type = "text/plain; charset=utf-8", .body = "minicpm is running\n", .headers = {kVary}};
  }
  HttpResponse response = file_response(request, {.packed = packed_web_page(), .text = html_, .tag = tag_});
  response.content_type = "text/html; charset=utf-8";
  response.headers.insert(
      response.headers.end(),
      {{"Content-Security-Policy", policy_},
       {"X-Frame-Options", "DENY"},
       {"Referrer-Policy", "same-origin"},
       {"Permissions-Policy", "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()"},
       {"Cross-Origin-Opener-Policy", "same-origin"}});
  return response;
}

HttpResponse WebPage::part(const HttpRequest& request) const {
  const std::string_view name = std::string_view(request.path).substr(request.path.rfind('/') + 1);
  for (const Script& script : scripts_) {
    if (script.file.name != name) continue;
    HttpResponse response = file_response(request, {.packed = script.file.packed, .tag = script.tag});
    response.content_type = "text/javascript; charset=utf-8";
    // A script that runs as a worker has this policy instead of the page's: it may load scripts of this server, no
    // more.
    response.headers.push_back({"Content-Security-Policy", "default-src 'none'; script-src 'self'"});
    return response;
  }
  throw ApiError(404, "there is no such address on this server");
}

}  // namespace minicpm::server
