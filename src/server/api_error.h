// Errors of the APIs: a status, a sentence, and the shape that the client's library reads.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "server/http.h"

namespace minicpm::server {

/// How the body of an error looks: OpenAI's {"error": {"message", "type", "param", "code"}}, Ollama's {"error": TEXT},
/// Anthropic's {"type": "error", "error": {"type", "message"}}.
enum class ErrorStyle { kOpenAi, kOllama, kAnthropic };

class ApiError : public std::runtime_error {
 public:
  /// `param`: the field that is wrong; `code`: a word for programs. Both may be empty.
  ApiError(int status, const std::string& message, std::string param = {}, std::string code = {})
      : std::runtime_error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }

 private:
  int status_;
  std::string param_, code_;
};

/// 400 naming the field.
template <typename... Args>
[[noreturn]] void bad_field(const std::string& param, fmt::format_string<Args...> format, Args&&... args) {
  throw ApiError(400, param + ": " + fmt::format(format, std::forward<Args>(args)...), param);
}

/// What an error of the library means to a client. Its text is passed on for errors of the request and kept back for
/// those of the server.
ApiError to_api_error(const Error& error);

/// As JSON text, without a newline.
std::string error_body(ErrorStyle style, const ApiError& error, std::string_view request_id);
HttpResponse error_response(ErrorStyle style, const ApiError& error, std::string_view request_id);

}  // namespace minicpm::server
