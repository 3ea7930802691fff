#include "server/api_error.h"

#include "base/json.h"
#include "server/json_body.h"

namespace minicpm::server {
namespace {

std::string_view openai_type(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 429 || status == 503) return "overloaded_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

std::string_view anthropic_type(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 404) return "not_found_error";
  if (status == 413) return "request_too_large";
  if (status == 429) return "rate_limit_error";
  if (status == 503) return "overloaded_error";
  return status >= 500 ? "api_error" : "invalid_request_error";
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace

ApiError to_api_error(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kUnsupported:
      return ApiError(400, error.what());
    case ErrorCode::kOutOfMemory:
      return ApiError(503, "there is not enough memory for this request now", {}, "out_of_memory");
    case ErrorCode::kCancelled:
      return ApiError(503, "the server is shutting down", {}, "cancelled");
    case ErrorCode::kTimeout:
      return ApiError(504, "the request took too long", {}, "timeout");
    case ErrorCode::kNotFound:  // a file of ours, whose path is no business of the client
    case ErrorCode::kBadFile:
    case ErrorCode::kIo:
    case ErrorCode::kNetwork:
    case ErrorCode::kRefused:
    case ErrorCode::kInternal:
      break;
  }
  return ApiError(500, "internal error");
}

std::string error_body(ErrorStyle style, const ApiError& error, std::string_view request_id) {
  Json body;
  switch (style) {
    case ErrorStyle::kOpenAi:
      body = {{"error",
               {{"message", error.what()},
                {"type", openai_type(error.status())},
                {"param", or_null(error.param())},
                {"code", or_null(error.code())}}}};
      break;
    case ErrorStyle::kOllama:
      body = {{"error", error.what()}};
      break;
    case ErrorStyle::kAnthropic:
      body = {{"type", "error"},
              {"error", {{"type", anthropic_type(error.status())}, {"message", error.what()}}},
              {"request_id", request_id}};
      break;
  }
  return to_text(body);
}

HttpResponse error_response(ErrorStyle style, const ApiError& error, std::string_view request_id) {
  HttpResponse response{.status = error.status(), .body = error_body(style, error, request_id) + "\n"};
  if (error.status() == 401) response.headers.push_back({"WWW-Authenticate", "Bearer"});
  if (error.status() == 503 || error.status() == 429) response.headers.push_back({"Retry-After", "1"});
  return response;
}

}  // namespace minicpm::server
