// Counters and histograms in the text format of Prometheus.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace minicpm::server {

/// Cumulative buckets with fixed upper limits, in seconds.
class Histogram {
 public:
  static constexpr std::array kLimits = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                         0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0};
  void add(double seconds);
  void print(std::string& out, std::string_view name, std::string_view help) const;

 private:
  std::array<uint64_t, kLimits.size() + 1> counts_{};
  uint64_t count_ = 0;
  double sum_ = 0;
};

/// Thread-safe.
class Metrics {
 public:
  void count_request(const std::string& route, int status);
  void count_tokens(int64_t prompt, int64_t completion);
  void add_first_token(double seconds);
  void add_next_token(double seconds);

  /// Values that others hold at this moment.
  struct Gauges {
    size_t running = 0, waiting = 0, connections = 0;
  };
  std::string text(const Gauges& gauges) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
  uint64_t prompt_tokens_ = 0, completion_tokens_ = 0;
  Histogram first_token_, next_token_;
};

}  // namespace minicpm::server
