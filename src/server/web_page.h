// The page that browsers get at "/": one HTML file that is part of the program, made from webui/.
#pragma once

#include <string>
#include <string_view>

#include "server/http.h"

namespace minicpm::server {

/// The page as it lies in the program: HTML, compressed with gzip.
std::string_view packed_web_page();

/// What a gzip file of one part with a head of ten bytes holds. Throws Error bad_file.
std::string unpack_gzip(std::string_view packed);

/// What the page may do in a browser: its own script and style, found by their hashes, requests to this server, and
/// pictures, sound and videos that it holds itself. `html` has its script and style inline.
std::string content_security_policy(std::string_view html);

class WebPage {
 public:
  WebPage();
  /// The page for browsers, which accept text/html; for others one line of text. Where the client has the page
  /// already (If-None-Match), 304.
  HttpResponse answer(const HttpRequest& request) const;

 private:
  std::string html_, tag_, policy_;
};

}  // namespace minicpm::server
