#include "server/access_log.h"

#include <fmt/format.h>

#include "server/answering.h"

namespace minicpm::server {
namespace {

constexpr size_t kLongestPath = 100;

/// A path that no route has is shown as the client wrote it, but for what could break the line.
std::string shown_path(const ExchangeSummary& summary) {
  if (!summary.note.route.empty()) return summary.note.route;
  std::string path(summary.path.substr(0, kLongestPath));
  for (char& c : path) {
    if (c <= ' ' || c > '~' || c == '"' || c == '\\') c = '?';
  }
  return path.empty() ? "-" : path;
}

}  // namespace

std::string access_line(LogFormat format, const ExchangeSummary& s) {
  if (format == LogFormat::kOff) return {};
  const std::string method(s.method.empty() ? "-" : s.method.substr(0, 20));
  if (format == LogFormat::kText) {
    std::string line = fmt::format("{} {} {} {} {} {:.1f} ms {} bytes", utc_time(), s.peer, method, shown_path(s),
                                   s.status, s.milliseconds, s.bytes_out);
    if (!s.note.model.empty()) {
      line += fmt::format(" {} {}+{} tokens", s.note.model, s.note.prompt_tokens, s.note.completion_tokens);
    }
    return line + " " + std::string(s.id);
  }
  Json line = {{"time", utc_time()},     {"id", s.id},         {"peer", s.peer},       {"method", method},
               {"route", shown_path(s)}, {"status", s.status}, {"ms", s.milliseconds}, {"bytes", s.bytes_out}};
  if (!s.note.model.empty()) {
    line["model"] = s.note.model;
    line["prompt_tokens"] = s.note.prompt_tokens;
    line["completion_tokens"] = s.note.completion_tokens;
  }
  return to_text(line);
}

}  // namespace minicpm::server
