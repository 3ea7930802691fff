#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "backend/registry.h"
#include "base/error.h"

namespace minicpm {
namespace {

using testing::HasSubstr;

/// Sets or clears an environment variable until the end of the scope.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~ScopedVariable() { old_ ? setenv(name_, old_->c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

template <typename Fn>
std::pair<ErrorCode, std::string> error_of(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::kInternal, "no error"};
}

TEST(CpuBackend, EveryBuildHasScalarKernelsAndChoosesOneTable) {
  const ScopedVariable none("MINICPM_ISA", nullptr);
  const std::vector<KernelInfo> kernels = cpu_kernels();
  ASSERT_FALSE(kernels.empty());
  EXPECT_EQ(kernels[0].name, "scalar");
  EXPECT_TRUE(kernels[0].supported);
  int chosen = 0;
  for (const KernelInfo& kernel : kernels) {
    chosen += kernel.chosen ? 1 : 0;
    EXPECT_TRUE(kernel.supported || !kernel.chosen);
  }
  EXPECT_EQ(chosen, 1);
  // The last supported one is the most capable.
  for (size_t i = kernels.size(); i-- > 0;) {
    if (!kernels[i].supported) continue;
    EXPECT_TRUE(kernels[i].chosen);
    break;
  }
}

TEST(CpuBackend, DescriptionNamesKernelsAndThreads) {
  EXPECT_EQ(make_cpu_backend({.num_threads = 1, .isa = "scalar"})->description(), "cpu (scalar, 1 thread)");
  EXPECT_EQ(make_cpu_backend({.num_threads = 3, .isa = "scalar"})->description(), "cpu (scalar, 3 threads)");
  EXPECT_EQ(make_cpu_backend({.num_threads = 3, .isa = "scalar"})->num_threads(), 3);
  EXPECT_EQ(make_cpu_backend({.num_threads = 0, .isa = "scalar"})->num_threads(), usable_processors());
}

TEST(CpuBackend, EnvironmentForcesATable) {
  const ScopedVariable scalar("MINICPM_ISA", "scalar");
  EXPECT_EQ(make_cpu_backend({.num_threads = 1})->description(), "cpu (scalar, 1 thread)");
  EXPECT_TRUE(cpu_kernels()[0].chosen);
}

TEST(CpuBackend, OptionOutranksEnvironment) {
  const ScopedVariable wrong("MINICPM_ISA", "no such table");
  EXPECT_NO_THROW(make_cpu_backend({.num_threads = 1, .isa = "scalar"}));
}

TEST(CpuBackend, EmptyVariableMeansTheBestTable) {
  const ScopedVariable empty("MINICPM_ISA", "");
  EXPECT_NO_THROW(make_cpu_backend({.num_threads = 1}));
}

TEST(CpuBackend, UnknownTableIsAnErrorThatListsTheKnownOnes) {
  const auto [code, message] = error_of([] { make_cpu_backend({.num_threads = 1, .isa = "sse9"}); });
  EXPECT_EQ(code, ErrorCode::kInvalidRequest);
  EXPECT_THAT(message, HasSubstr("\"sse9\""));
  for (const KernelInfo& kernel : cpu_kernels())
    EXPECT_THAT(message, HasSubstr(kernel.name));

  const ScopedVariable wrong("MINICPM_ISA", "sse9");
  const auto [variable_code, variable_message] = error_of([] { make_cpu_backend({.num_threads = 1}); });
  EXPECT_EQ(variable_code, ErrorCode::kInvalidRequest);
  EXPECT_THAT(variable_message, HasSubstr("MINICPM_ISA"));
}

TEST(CpuBackend, TableThatTheProcessorLacksIsUnsupported) {
  for (const KernelInfo& kernel : cpu_kernels()) {
    if (kernel.supported) continue;
    const auto [code, message] = error_of([&] { make_cpu_backend({.num_threads = 1, .isa = kernel.name}); });
    EXPECT_EQ(code, ErrorCode::kUnsupported);
    EXPECT_THAT(message, HasSubstr(kernel.name));
  }
}

TEST(CpuBackend, LargeTasksAfterSmallOnesGrowScratchMemory) {
  const std::unique_ptr<Backend> backend = make_cpu_backend({.num_threads = 2});
  for (const int64_t rows : {1, 300, 7, 900}) {
    std::vector<float> x(static_cast<size_t>(rows) * 2 * 72, 1.0f), out(x.size(), 0.0f);
    const Tensor t(x.data(), DType::kF32, {rows, 2, 72});
    const std::vector<int64_t> starts = {0, rows};
    backend->attention_varlen(Tensor(out.data(), DType::kF32, {rows, 2, 72}), t, t, t, starts, starts, 0.1f, Precision::kFast);
    EXPECT_THAT(out, testing::Each(testing::FloatEq(1.0f)));  // the mean of equal values
  }
}

}  // namespace
}  // namespace minicpm
