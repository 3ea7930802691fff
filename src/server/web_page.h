// The page that browsers get at "/": one HTML file that is part of the program, made from webui/, and at "/page/NAME"
// the scripts that it loads only when they are needed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace minicpm::server {

/// The page as it lies in the program: HTML, compressed with gzip.
std::string_view packed_web_page();

struct WebScript {
  std::string_view name;    // "call.js"
  std::string_view packed;  // compressed with gzip
};
std::vector<WebScript> packed_web_scripts();

/// What a gzip file of one part with a head of ten bytes holds. Throws Error bad_file.
std::string unpack_gzip(std::string_view packed);

/// What the page may do in a browser: its own script and style, found by their hashes, scripts of this server, requests
/// to it, and pictures, sound and videos that it holds itself. `html` has its script and style inline.
std::string content_security_policy(std::string_view html);

class WebPage {
 public:
  WebPage();
  /// The page for browsers, which accept text/html; for others one line of text. Where the client has the page
  /// already (If-None-Match), 304.
  HttpResponse answer(const HttpRequest& request) const;
  /// The script that the request's path names, "/page/NAME", for anyone. Throws ApiError 404.
  HttpResponse part(const HttpRequest& request) const;

 private:
  struct Script {
    WebScript file;
    std::string tag;
  };
  std::string html_, tag_, policy_;
  std::vector<Script> scripts_;
};

}  // namespace minicpm::server
