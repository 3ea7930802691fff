#include "train/torch/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

namespace minicpm::train {
namespace {

OptimizerConfig plain(const std::string& kind) {
  OptimizerConfig config;
  config.kind = kind;
  config.weight_decay = 0.1;
  return config;
}

TEST(Optimizer, AdamWIsThatOfTorch) {
  torch::manual_seed(11);
  const Tensor start = at::randn({13, 7});
  Tensor own = start.clone().requires_grad_(true), reference = start.clone().requires_grad_(true);
  OptimizerConfig config = plain("adamw");
  Optimizer optimizer(config, {{"layer.weight", own}});
  torch::optim::AdamW torch_optimizer({reference},
                                      torch::optim::AdamWOptions(1e-2).betas({0.9, 0.95}).eps(1e-8).weight_decay(0.1));
  for (int step = 0; step < 20; ++step) {
    const Tensor gradient = at::randn({13, 7});
    optimizer.zero_grad();
    own.mutable_grad() = 2 * gradient;
    reference.mutable_grad() = gradient.clone();
    optimizer.step({1e-2}, 0.5);  // as clipping scales gradients
    torch_optimizer.step();
  }
  EXPECT_LT((own - reference).abs().max().item<float>(), 1e-5);
}

TEST(Optimizer, VectorsDoNotDecay) {
  Tensor norm = at::ones({5}).requires_grad_(true);
  Optimizer optimizer(plain("adamw"), {{"norm.weight", norm}});
  norm.mutable_grad() = at::zeros({5});
  optimizer.step({1.0}, 1.0);
  EXPECT_TRUE(at::equal(norm, at::ones({5})));
}

TEST(Optimizer, MuonMovesAllDirectionsOfAMatrixAlike) {
  torch::manual_seed(12);
  // Singular values over four orders of magnitude; the larger matrix is wide, the other tall.
  for (const auto& [rows, columns] : {std::pair{24, 64}, std::pair{64, 24}}) {
    const Tensor u = std::get<0>(at::linalg_qr(at::randn({rows, 24}))),
                 v = std::get<0>(at::linalg_qr(at::randn({columns, 24})));
    const Tensor gradient = at::mm(u * at::logspace(0, -2, 24), v.t());
    Tensor weight = at::zeros({rows, columns}).requires_grad_(true);
    Tensor second = at::zeros({rows, columns}).requires_grad_(true);
    Optimizer optimizer(plain("muon"), {{"a.weight", weight}, {"b.weight", second}});
    weight.mutable_grad() = gradient.clone();
    second.mutable_grad() = -3 * gradient;
    optimizer.step({1.0, 1.0}, 1.0);
    // The largest side is 64: an orthogonal matrix times 0.2 * 8.
    const Tensor values = at::linalg_svdvals(weight.detach()) / (0.2 * 8);
    EXPECT_GT(values.min().item<float>(), 0.5);
    EXPECT_LT(values.max().item<float>(), 1.3);
    EXPECT_LT((weight + second).norm().item<float>(), 0.02 * weight.norm().item<float>());
    EXPECT_LT((weight * gradient).sum().item<float>(), 0);  // downhill
  }
}

TEST(Optimizer, EmbeddingsAndHeadsStayWithAdamW) {
  Tensor table = at::zeros({8, 4}).requires_grad_(true), matrix = at::zeros({8, 4}).requires_grad_(true);
  Optimizer optimizer(plain("muon"), {{"llm.model.embed_tokens.weight", table}, {"llm.layer.weight", matrix}});
  EXPECT_EQ(optimizer.state().size(), 5u);  // m, v, steps and m, steps
}

TEST(Optimizer, ARateOfZeroFreezes) {
  Tensor weight = at::ones({3, 3}).requires_grad_(true);
  Optimizer optimizer(plain("adamw"), {{"w", weight}});
  weight.mutable_grad() = at::ones({3, 3});
  optimizer.step({0.0}, 1.0);
  EXPECT_TRUE(at::equal(weight, at::ones({3, 3})));
  EXPECT_EQ(optimizer.state()[2].second.item<float>(), 0);
}

TEST(Optimizer, NormsOfGradients) {
  Tensor a = at::zeros({2}).requires_grad_(true), b = at::zeros({2}).requires_grad_(true);
  Optimizer optimizer(plain("adamw"), {{"a", a}, {"b", b}});
  a.mutable_grad() = at::full({2}, 3.0f);
  EXPECT_NEAR(optimizer.grad_norm(), std::sqrt(18.0), 1e-6);  // b has none
  b.mutable_grad() = at::full({2}, std::nanf(""));
  EXPECT_FALSE(std::isfinite(optimizer.grad_norm()));
}

}  // namespace
}  // namespace minicpm::train
