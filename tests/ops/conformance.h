// What the conformance tests share: random data, error measures, and a fixture that runs an op on one instruction set
// with one thread and with three.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/registry.h"

namespace minicpm {

inline constexpr uint32_t kSeed = 20261122;

/// Normal values, from a fixed seed so that failures repeat.
class Random {
 public:
  explicit Random(uint32_t seed = kSeed) : engine_(seed) {}
  std::vector<float> values(int64_t n, float spread = 1.0f, float mean = 0.0f) {
    std::normal_distribution<float> normal(mean, spread);
    std::vector<float> result(static_cast<size_t>(n));
    for (float& x : result)
      x = normal(engine_);
    return result;
  }
  std::mt19937& engine() { return engine_; }

 private:
  std::mt19937 engine_;
};

/// |a - b| / |b| over all values; infinite if a holds a NaN or infinity.
template <typename A>
double relative_error(const std::vector<A>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0.0, size = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(static_cast<double>(a[i]))) return INFINITY;
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  if (difference == 0.0) return 0.0;
  return size == 0.0 ? INFINITY : std::sqrt(difference / size);
}

/// NaN and the sign of zero included. Empty vectors are equal.
template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

class Conformance : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const KernelInfo& kernel : cpu_kernels()) {
      if (kernel.name == GetParam() && !kernel.supported) GTEST_SKIP() << "this processor lacks " << GetParam();
    }
    one_ = make_cpu_backend({.num_threads = 1, .isa = GetParam()});
    three_ = make_cpu_backend({.num_threads = 3, .isa = GetParam()});
  }

  /// op(backend, data) on a copy of `data` with one thread and with three; expects the same bits and returns them.
  template <typename T, typename Op>
  std::vector<T> run(const std::vector<T>& data, Op&& op) {
    std::vector<T> result = data, other = data;
    op(*one_, result.data());
    op(*three_, other.data());
    EXPECT_TRUE(same_bits(result, other)) << "one and three threads give different bits";
    return result;
  }

  std::unique_ptr<Backend> one_, three_;
};

inline std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const KernelInfo& kernel : cpu_kernels())
    names.push_back(kernel.name);
  return names;
}

}  // namespace minicpm

#define MINICPM_FOR_EACH_ISA(suite) \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, testing::ValuesIn(kernel_names()), [](const auto& i) { return i.param; })
