#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace minicpm {
namespace {

// Names are short, so honest patterns stay far below; hostile ones end within milliseconds.
constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimitKiB = 16 << 10;
constexpr size_t kMaxPatternBytes = 64 << 10;

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

void check_allocated(const void* pointer) {
  if (pointer == nullptr) fail(ErrorCode::kOutOfMemory, "no memory for a regular expression");
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;

  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

Regex::Regex(std::string_view pattern, std::string source) : source_(std::move(source)) {
  if (pattern.size() > kMaxPatternBytes) {
    fail(ErrorCode::kUnsupported, "{}: a regular expression of {} bytes is longer than the {} supported", source_,
         pattern.size(), kMaxPatternBytes);
  }
  auto compiled = std::make_unique<Compiled>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  constexpr uint32_t kOptions = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C;
  compiled->code = pcre2_compile(units(pattern), pattern.size(), kOptions, &error, &offset, nullptr);
  if (compiled->code == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof(message));
    fail(ErrorCode::kBadFile, "{}: \"{}\" is not a valid regular expression: {} at character {}", source_,
         pattern.substr(0, 200), reinterpret_cast<const char*>(message), offset + 1);
  }
  compiled->limits = pcre2_match_context_create(nullptr);
  check_allocated(compiled->limits);
  pcre2_set_match_limit(compiled->limits, kMatchLimit);
  pcre2_set_heap_limit(compiled->limits, kHeapLimitKiB);
  compiled_ = std::move(compiled);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

bool Regex::full_match(std::string_view text) const {
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(compiled_->code, nullptr);
  check_allocated(match);
  const int result = pcre2_match(compiled_->code, units(text), text.size(), 0, 0, match, compiled_->limits);
  pcre2_match_data_free(match);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) fail(ErrorCode::kUnsupported, "{}: the regular expression takes too many steps", source_);
  return true;
}

std::string regex_escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view(R"(\.^$|()[]{}*+?-)").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace minicpm
