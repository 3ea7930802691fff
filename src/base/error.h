// The one exception type of the library. It is thrown by loading, configuration, request validation and broken
// invariants; compute code never throws.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace minicpm {

enum class ErrorCode {
  kInvalidRequest,  // a request or an option that cannot be served
  kNotFound,        // a file, model or name that does not exist
  kBadFile,         // damaged or contradictory content
  kUnsupported,     // well-formed, but of a kind this build cannot handle
  kIo,              // reading or writing failed; disk full
  kOutOfMemory,     // does not fit
  kNetwork,
  kRefused,  // authentication or policy
  kCancelled,
  kTimeout,
  kInternal,  // a broken invariant: a bug of ours
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Throws Error with a formatted sentence: name the thing, what was expected and what was found.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void fail_check(const char* expression, const char* file, int line);

}  // namespace minicpm

/// An invariant of ours; never used to judge input.
#define MINICPM_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::minicpm::fail_check(#condition, __FILE__, __LINE__))

#ifdef NDEBUG
#define MINICPM_DCHECK(condition) static_cast<void>(0)
#else
#define MINICPM_DCHECK(condition) MINICPM_CHECK(condition)
#endif
