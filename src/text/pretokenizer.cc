#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "text/utf8.h"

namespace minicpm {

const std::string_view kQwen2Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kLlama3Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kGpt2Pattern =
    R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re";

namespace {

constexpr size_t kMaxSteps = 16;
constexpr size_t kMaxPatternBytes = 64 << 10;

// Limits for patterns that are not known to be linear. One call can look at kWindowBytes characters for each of its
// kMatchLimit steps, so that the slowest possible call ends within seconds; the clock stops a sequence of such calls.
constexpr size_t kWindowBytes = 16 << 10;
constexpr uint32_t kMatchLimit = 100'000;
constexpr uint32_t kDepthLimit = 10'000;
constexpr uint32_t kHeapLimitKiB = 64 << 10;
constexpr double kBudgetSeconds = 2;
constexpr double kBudgetSecondsPerByte = 1e-6;

/// Unicode White_Space as members of a character class. PCRE2's own \s has U+180E in addition, which Unicode removed.
constexpr std::string_view kSpaceMembers =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

/// The pattern with \s and \S spelt out.
std::string with_unicode_spaces(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's' && in_class) {
        out += kSpaceMembers;
      } else if ((escaped == 's' || escaped == 'S') && !in_class) {
        out += escaped == 's' ? "[" : "[^";
        out += kSpaceMembers;
        out += ']';
      } else {
        out += c;
        out += escaped;
      }
      continue;
    }
    out += c;
    if (c == '[' && !in_class) {
      in_class = true;
      // A bracket right after the opening one (or after its ^) is a member.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') out += pattern[++i];
    } else if (c == ']') {
      in_class = false;
    }
  }
  return out;
}

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using CompileContext = std::unique_ptr<pcre2_compile_context, Freer<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using Code = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;

void check_allocated(const void* pointer) {
  if (pointer == nullptr) fail(ErrorCode::kOutOfMemory, "no memory for a regular expression");
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

/// Stops a pattern that uses up its processor time on one text.
class TimeBudget {
 public:
  explicit TimeBudget(size_t bytes) : seconds_(kBudgetSeconds + kBudgetSecondsPerByte * static_cast<double>(bytes)) {}

  bool exhausted() const {
    // The thread's own clock decides, so that a busy machine changes nothing; the cheap clock says when to ask it.
    if (std::chrono::steady_clock::now() - wall_start_ < std::chrono::duration<double>(seconds_)) return false;
    return cpu_seconds() - cpu_start_ > seconds_;
  }

 private:
  static double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  }
  double seconds_;
  std::chrono::steady_clock::time_point wall_start_ = std::chrono::steady_clock::now();
  double cpu_start_ = cpu_seconds();
};

/// The largest character boundary of valid UTF-8 that is not after `at`.
size_t boundary_at_or_before(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  while ((static_cast<uint8_t>(text[at]) & 0xC0u) == 0x80u)
    --at;
  return at;
}

}  // namespace

class Pretokenizer::Pattern {
 public:
  Pattern(std::string_view pattern, bool literal, const std::string& source)
      : source_(source), trusted_(pattern == kQwen2Pattern || pattern == kLlama3Pattern || pattern == kGpt2Pattern) {
    CompileContext context(pcre2_compile_context_create(nullptr));
    check_allocated(context.get());
    pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
    const std::string text = literal ? std::string(pattern) : with_unicode_spaces(pattern);
    const uint32_t options =
        PCRE2_UTF | PCRE2_ANCHORED | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
    int error = 0;
    PCRE2_SIZE error_offset = 0;
    code_.reset(pcre2_compile(units(text), text.size(), options, &error, &error_offset, context.get()));
    if (code_ == nullptr) {
      PCRE2_UCHAR message[256];
      pcre2_get_error_message(error, message, sizeof(message));
      fail(ErrorCode::kBadFile, "{}: the pre_tokenizer pattern \"{}\" is not a valid regular expression: {}", source,
           pattern.substr(0, 80), reinterpret_cast<const char*>(message));
    }
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without it the interpreter runs, more slowly

    match_context_.reset(pcre2_match_context_create(nullptr));
    check_allocated(match_context_.get());
    pcre2_set_match_limit(match_context_.get(), trusted_ ? UINT32_MAX : kMatchLimit);
    pcre2_set_depth_limit(match_context_.get(), trusted_ ? UINT32_MAX : kDepthLimit);
    pcre2_set_heap_limit(match_context_.get(), kHeapLimitKiB);
  }

  void split(std::string_view text, size_t offset, const TimeBudget& budget, std::vector<Piece>& pieces) const {
    MatchData match(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    check_allocated(match.get());
    size_t gap = 0;  // start of what no match has covered yet
    for (size_t at = 0; at < text.size();) {
      const size_t end = match_at(text, at, match.get());
      if (!trusted_ && budget.exhausted()) fail_limit();
      if (end <= at) {  // no match, or an empty one
        at += next_utf8(text.substr(at)).length;
        continue;
      }
      if (gap < at) pieces.push_back({offset + gap, offset + at});
      pieces.push_back({offset + at, offset + end});
      at = gap = end;
    }
    if (gap < text.size()) pieces.push_back({offset + gap, offset + text.size()});
  }

 private:
  /// The end of the match that begins at `at`, or 0.
  size_t match_at(std::string_view text, size_t at, pcre2_match_data* match) const {
    const size_t length = trusted_ ? text.size() : boundary_at_or_before(text, at + kWindowBytes);
    int result = pcre2_match(code_.get(), units(text), length, at, PCRE2_NO_UTF_CHECK, match, match_context_.get());
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match(code_.get(), units(text), length, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match,
                           match_context_.get());
    }
    if (result == PCRE2_ERROR_NOMATCH) return 0;
    if (result < 0) fail_limit();
    return std::min<size_t>(pcre2_get_ovector_pointer(match)[1], length);
  }

  [[noreturn]] void fail_limit() const {
    fail(ErrorCode::kUnsupported, "{}: the pre_tokenizer pattern takes too many steps on this text", source_);
  }

  std::string source_;
  bool trusted_;
  Code code_;
  MatchContext match_context_;  // only read while matching
};

void Pretokenizer::add_split(std::string_view pattern, bool literal, const std::string& source) {
  if (steps_.size() >= kMaxSteps) {
    fail(ErrorCode::kUnsupported, "{}: a pre_tokenizer with more than {} steps is not supported", source, kMaxSteps);
  }
  steps_.push_back(std::make_shared<const Pattern>(pattern, literal, source));
}

void Pretokenizer::split(std::string_view text, std::vector<Piece>& pieces) const {
  if (text.empty()) return;
  if (steps_.empty()) {
    pieces.push_back({0, text.size()});
    return;
  }
  const TimeBudget budget(text.size());
  const size_t first = pieces.size();
  steps_[0]->split(text, 0, budget, pieces);
  for (size_t step = 1; step < steps_.size(); ++step) {
    const std::vector<Piece> before(pieces.begin() + static_cast<ptrdiff_t>(first), pieces.end());
    pieces.resize(first);
    for (const Piece& piece : before)
      steps_[step]->split(text.substr(piece.begin, piece.end - piece.begin), piece.begin, budget, pieces);
  }
}

}  // namespace minicpm
