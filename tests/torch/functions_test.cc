// The fused loops against torch's own operations, forward and backward.
#include "train/torch/functions.h"

#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <random>
#include <string>

namespace minicpm::train {
namespace {

using Op = std::function<Tensor(const std::vector<Tensor>&)>;

double relative(const Tensor& a, const Tensor& b) {
  const Tensor wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).norm() / (wide.norm() + 1e-30)).item<double>();
}

/// Runs `op` on inputs of type `type` by the fused loops and in double by torch; results and the gradients of all
/// inputs must agree. Inputs listed in `narrow` are activations and take the type; the others are parameters in f32.
void compare(const Op& op, const std::vector<Tensor>& inputs, const std::vector<bool>& narrow, at::ScalarType type,
             double limit) {
  std::vector<Tensor> fast, exact;
  for (size_t i = 0; i < inputs.size(); ++i) {
    fast.push_back(inputs[i].to(narrow[i] ? type : at::kFloat).detach().clone().requires_grad_(true));
    exact.push_back(fast.back().detach().to(at::kDouble).requires_grad_(true));
  }
  const Tensor a = op(fast), b = op(exact);
  EXPECT_LT(relative(a, b), limit) << "result";
  const Tensor weight = at::randn(b.sizes(), at::kDouble);
  (a.to(at::kDouble) * weight).sum().backward();
  (b * weight).sum().backward();
  for (size_t i = 0; i < inputs.size(); ++i)
    EXPECT_LT(relative(fast[i].grad(), exact[i].grad()), limit) << "gradient of input " << i;
}

class Functions : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    seed_ = std::random_device{}();
    RecordProperty("seed", std::to_string(seed_));
    torch::manual_seed(seed_);
  }
  void TearDown() override {
    if (HasFailure()) std::cerr << "seed " << seed_ << '\n';
  }
  at::ScalarType type() const { return GetParam(); }
  double limit() const { return type() == at::kFloat ? 2e-6 : 2e-2; }
  uint64_t seed_ = 0;
};

TEST_P(Functions, Linear) {
  compare([](const auto& x) { return fn::linear(x[0], x[1], x[2]); },
          {at::randn({37, 24}), at::randn({48, 24}), at::randn({48})}, {true, false, false}, type(), limit());
  compare([](const auto& x) { return fn::linear(x[0], x[1]); }, {at::randn({5, 7, 24}), at::randn({48, 24})},
          {true, false}, type(), limit());
}

TEST_P(Functions, Norms) {
  // Rows far from zero with little spread: a one-pass variance would lose all digits.
  const Tensor x = at::randn({75, 40}) + 30 * at::randn({75, 1});
  const at::ScalarType out = type();
  for (const bool wide : {true, false}) {
    const Tensor in = wide ? x : at::randn({75, 40});
    compare(
        [&](const auto& t) {
          return fn::layer_norm(t[0], t[1], t[2], 1e-6, t[0].scalar_type() == at::kDouble ? at::kDouble : out);
        },
        {in, at::randn({40}), at::randn({40})}, {!wide, false, false}, type(), 10 * limit());
  }
  compare(
      [&](const auto& t) {
        return fn::rms_norm(t[0], t[1], 1e-6, t[0].scalar_type() == at::kDouble ? at::kDouble : out);
      },
      {at::randn({75, 3, 40}), at::randn({40})}, {true, false}, type(), limit());
}

TEST_P(Functions, ActivationsOverTheirWholeRange) {
  const Tensor far = at::linspace(-200, 200, 4001);
  compare([](const auto& x) { return fn::gelu(x[0]); }, {far}, {true}, type(), limit());
  compare([](const auto& x) { return fn::gelu(x[0]); }, {at::randn({9, 33})}, {true}, type(), limit());
  compare([](const auto& x) { return fn::silu_mul(x[0], x[1]); }, {far, at::randn({4001})}, {true, true}, type(),
          limit());
}

TEST_P(Functions, Rope) {
  const Tensor angles = at::rand({21, 8}) * 6;
  compare(
      [&](const auto& x) {
        const auto wide = x[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
        return fn::rope(x[0], angles.cos().to(wide), angles.sin().to(wide));
      },
      {at::randn({21, 3, 16})}, {true}, type(), limit());
}

TEST_P(Functions, AttentionOfSeveralRuns) {
  // Two sequences of 5 queries over 7 keys and three of 4 over 9.
  const std::vector<minicpm::train::Run> runs{{2, 0, 5, 0, 7}, {3, 10, 4, 14, 9}};
  compare([&](const auto& x) { return fn::attention(x[0], x[1], x[2], runs, 0.3, false); },
          {at::randn({22, 4, 16}), at::randn({41, 2, 16}), at::randn({41, 2, 16})}, {true, true, true}, type(),
          2 * limit());
  const std::vector<minicpm::train::Run> causal{{3, 0, 11, 0, 11}};
  // Pieces of three rows: a row sees its own and those before.
  compare([&](const auto& x) { return fn::attention(x[0], x[1], x[2], causal, 0.25, 3); },
          {at::randn({33, 6, 16}), at::randn({33, 2, 16}), at::randn({33, 2, 16})}, {true, true, true}, type(),
          2 * limit());
  compare([&](const auto& x) { return fn::attention(x[0], x[1], x[2], causal, 0.25, true); },
          {at::randn({33, 6, 16}), at::randn({33, 2, 16}), at::randn({33, 2, 16})}, {true, true, true}, type(),
          2 * limit());
}

TEST_P(Functions, SelectRows) {
  const Tensor rows = at::tensor({4, 0, 7, 3}, at::kLong);
  compare([&](const auto& x) { return fn::select_rows(x[0], rows); }, {at::randn({9, 5})}, {true}, type(), limit());
}

TEST_P(Functions, GeluByTheErrorFunction) {
  const Tensor x = at::linspace(-9, 9, 4001);
  compare([](const auto& v) { return fn::gelu_erf(v[0]); }, {x}, {true}, type(), limit());
}

TEST_P(Functions, AttentionPastHiddenKeys) {
  // Row r of 19 sees its own and earlier keys but those from 4 + r % 3 to r - r % 4.
  const std::vector<minicpm::train::Run> causal{{2, 0, 19, 0, 19}};
  Tensor hidden = at::zeros({38, 2}, at::kLong);
  for (int64_t i = 0; i < 38; ++i) {
    const int64_t r = i % 19, from = 4 + r % 3;
    if (r - r % 4 <= from) continue;
    hidden[i][0] = from;
    hidden[i][1] = r - r % 4;
  }
  compare([&](const auto& x) { return fn::attention(x[0], x[1], x[2], causal, 0.25, true, hidden); },
          {at::randn({38, 6, 16}), at::randn({38, 2, 16}), at::randn({38, 2, 16})}, {true, true, true}, type(),
          2 * limit());
}

TEST_P(Functions, CrossEntropyLeavesOutNegativeTargets) {
  const Tensor target = at::tensor({3, -1, 0, 6, 6}, at::kLong), weight = at::tensor({1.0f, 5.0f, 0.5f, 2.0f, 0.0f});
  compare([&](const auto& x) { return fn::cross_entropy(x[0], target, weight).value; }, {3 * at::randn({5, 7})}, {true},
          type(), limit());
  const auto loss = fn::cross_entropy(at::eye(3).to(type()), at::tensor({0, 2, -1}, at::kLong), at::ones({3}));
  EXPECT_TRUE(loss.hit[0].item<bool>());
  EXPECT_FALSE(loss.hit[1].item<bool>());
  EXPECT_FALSE(loss.hit[2].item<bool>());
}

TEST_P(Functions, AddKeepsTheResidualWide) {
  compare([](const auto& x) { return fn::add(x[0], x[1]); }, {at::randn({6, 10}), at::randn({6, 10})}, {false, true},
          type(), limit());
}

INSTANTIATE_TEST_SUITE_P(Types, Functions, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

}  // namespace
}  // namespace minicpm::train
