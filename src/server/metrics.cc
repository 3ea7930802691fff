#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace minicpm::server {
namespace {

void print_value(std::string& out, std::string_view name, std::string_view type, std::string_view help,
                 uint64_t value) {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
}

}  // namespace

void Histogram::add(double seconds) {
  const auto bucket = std::ranges::lower_bound(kLimits, seconds) - kLimits.begin();
  ++counts_[static_cast<size_t>(bucket)];
  ++count_;
  sum_ += seconds;
}

void Histogram::print(std::string& out, std::string_view name, std::string_view help) const {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} histogram\n", name, help);
  uint64_t total = 0;
  for (size_t i = 0; i < kLimits.size(); ++i) {
    total += counts_[i];
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kLimits[i], total);
  }
  out += fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, count_, sum_);
}

void Metrics::count_request(const std::string& route, int status) {
  const std::scoped_lock lock(mutex_);
  ++requests_[{route, status}];
}

void Metrics::count_tokens(int64_t prompt, int64_t completion) {
  const std::scoped_lock lock(mutex_);
  prompt_tokens_ += static_cast<uint64_t>(prompt);
  completion_tokens_ += static_cast<uint64_t>(completion);
}

void Metrics::add_first_token(double seconds) {
  const std::scoped_lock lock(mutex_);
  first_token_.add(seconds);
}

void Metrics::add_next_token(double seconds) {
  const std::scoped_lock lock(mutex_);
  next_token_.add(seconds);
}

std::string Metrics::text(const Gauges& gauges) const {
  const std::scoped_lock lock(mutex_);
  std::string out = "# HELP minicpm_requests_total Requests answered.\n# TYPE minicpm_requests_total counter\n";
  for (const auto& [key, count] : requests_)
    out += fmt::format("minicpm_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, count);
  print_value(out, "minicpm_requests_running", "gauge", "Requests being answered.", gauges.running);
  print_value(out, "minicpm_requests_waiting", "gauge", "Requests without a worker.", gauges.waiting);
  print_value(out, "minicpm_connections", "gauge", "Open connections.", gauges.connections);
  print_value(out, "minicpm_prompt_tokens_total", "counter", "Tokens of prompts.", prompt_tokens_);
  print_value(out, "minicpm_completion_tokens_total", "counter", "Tokens of answers.", completion_tokens_);
  first_token_.print(out, "minicpm_time_to_first_token_seconds",
                     "Time from the whole request to the first text of its answer.");
  next_token_.print(out, "minicpm_inter_token_seconds", "Time between two pieces of text of an answer.");
  return out;
}

}  // namespace minicpm::server
