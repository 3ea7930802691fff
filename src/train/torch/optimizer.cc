#include "train/torch/optimizer.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "train/torch/kernels.h"

namespace minicpm::train {
namespace {

constexpr int64_t kElementsPerTask = 1 << 15;

bool is_matrix_of_network(const std::string& name, const Tensor& p) {
  if (p.dim() != 2) return false;
  for (const char* other : {"embed", "lm_head", "position", "query", "cells"}) {
    if (name.find(other) != std::string::npos) return false;
  }
  return true;
}

Bf16* bf16(const Tensor& x) {
  return static_cast<Bf16*>(x.data_ptr());
}
float* f32(const Tensor& x) {
  return x.data_ptr<float>();
}
bool plain(const Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

/// For each matrix of g [n, rows, columns] the nearest one with all singular values near one: five Newton-Schulz steps
/// of an odd polynomial whose coefficients give a steep slope at zero (Jordan et al., 2024). In bf16, which the
/// iteration tolerates.
Tensor orthogonalise(const Tensor& g) {
  constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;
  const bool tall = g.size(1) > g.size(2);
  Tensor x = (g / (g.norm(2, {1, 2}, true) + 1e-7)).to(at::kBFloat16);
  if (tall) x = x.transpose(1, 2);
  x = x.contiguous();
  for (int i = 0; i < 5; ++i) {  // x = (a + b x x^T + c (x x^T)^2) x
    const Tensor square = at::bmm(x, x.transpose(1, 2)), fourth = at::bmm(square, square);
    Tensor sum = at::empty_like(square);
    const int64_t n = square.size(1);
    if (x.device().is_cpu()) {
      at::parallel_for(0, square.size(0) * n, 32, [&](int64_t begin, int64_t end) {
        diagonal_sum(bf16(square), bf16(fourth), bf16(sum), begin, end, n, kA, kB, kC);
      });
    } else {
      sum = square * kB + fourth * kC + kA * at::eye(n, square.options());
    }
    x = at::bmm(sum, x);
  }
  return (tall ? x.transpose(1, 2) : x).to(at::kFloat);
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, std::vector<std::pair<std::string, Tensor>> parameters)
    : config_(config), parameters_(std::move(parameters)) {
  for (const auto& [name, p] : parameters_) {
    State state;
    state.m = at::zeros_like(p, p.options().requires_grad(false));
    if (config_.kind != "muon" || !is_matrix_of_network(name, p)) state.v = at::zeros_like(state.m);
    state.steps = at::zeros({1}, at::kFloat);
    states_.push_back(std::move(state));
  }
}

void Optimizer::zero_grad() {
  for (auto& [name, p] : parameters_) {
    p.mutable_grad() = Tensor();  // the first gradient is then taken as it is
  }
}

double Optimizer::grad_norm() const {
  double sum = 0;
  for (const auto& [name, p] : parameters_) {
    if (!p.grad().defined()) continue;
    const double norm = p.grad().norm().item<double>();
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

void Optimizer::step(const std::vector<double>& rates, double gradient_scale) {
  at::NoGradGuard no_grad;
  std::map<std::vector<int64_t>, std::vector<size_t>> matrices;  // by shape
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (rates[i] == 0 || !parameters_[i].second.grad().defined()) continue;
    states_[i].steps += 1;
    if (states_[i].v.defined()) {
      adamw_step(i, rates[i], gradient_scale);
    } else {
      matrices[parameters_[i].second.sizes().vec()].push_back(i);
    }
  }
  for (const auto& [shape, group] : matrices)
    muon_step(group, rates, gradient_scale);
}

void Optimizer::adamw_step(size_t i, double rate, double gradient_scale) {
  Tensor& p = parameters_[i].second;
  State& s = states_[i];
  const double t = s.steps.item<float>();
  const double decay = p.dim() >= 2 ? config_.weight_decay : 0;
  AdamW step;
  step.rate = static_cast<float>(rate);
  step.beta1 = static_cast<float>(config_.beta1);
  step.beta2 = static_cast<float>(config_.beta2);
  step.eps = static_cast<float>(config_.eps);
  step.decay = static_cast<float>(decay);
  step.correction1 = static_cast<float>(1 - std::pow(config_.beta1, t));
  step.correction2 = static_cast<float>(1 - std::pow(config_.beta2, t));
  const Tensor g = p.grad().contiguous();
  if (plain(p)) {
    float *w = p.data_ptr<float>(), *m = s.m.data_ptr<float>(), *v = s.v.data_ptr<float>();
    const float* grad = g.data_ptr<float>();
    at::parallel_for(0, p.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
      adamw(w, grad, m, v, begin, end, static_cast<float>(gradient_scale), step);
    });
    return;
  }
  s.m.mul_(config_.beta1).add_(g, (1 - config_.beta1) * gradient_scale);
  s.v.mul_(config_.beta2).addcmul_(g, g, (1 - config_.beta2) * gradient_scale * gradient_scale);
  p.mul_(1 - rate * decay);
  p.addcdiv_(s.m, (s.v / step.correction2).sqrt_().add_(config_.eps), -rate / step.correction1);
}

// Matrices of one shape go through the iteration together: many small products would cost more in calls than in sums.
void Optimizer::muon_step(const std::vector<size_t>& group, const std::vector<double>& rates, double gradient_scale) {
  const Tensor& shape = parameters_[group[0]].second;
  Tensor updates = at::empty({static_cast<int64_t>(group.size()), shape.size(0), shape.size(1)}, shape.options());
  for (size_t n = 0; n < group.size(); ++n) {
    const Tensor &p = parameters_[group[n]].second, g = p.grad().contiguous(), &m = states_[group[n]].m;
    Tensor update = updates[static_cast<int64_t>(n)];
    if (plain(p)) {
      at::parallel_for(0, p.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
        muon_momentum(f32(g), f32(m), f32(update), begin, end, static_cast<float>(gradient_scale),
                      static_cast<float>(config_.momentum));
      });
    } else {
      const Tensor scaled = g * gradient_scale;
      m.mul_(config_.momentum).add_(scaled);
      update.copy_(scaled + m * config_.momentum);
    }
  }
  const Tensor orthogonal = orthogonalise(updates).contiguous();
  for (size_t n = 0; n < group.size(); ++n) {
    Tensor& p = parameters_[group[n]].second;
    const Tensor update = orthogonal[static_cast<int64_t>(n)];
    // Entries of an orthogonal matrix have the size 1 / sqrt(longer side); 0.2 is the size of AdamW's usual updates, so
    // both share one learning rate (Liu et al., 2025).
    const double longer = static_cast<double>(std::max(p.size(0), p.size(1)));
    const double rate = rates[group[n]], keep = 1 - rate * config_.weight_decay, step = rate * 0.2 * std::sqrt(longer);
    if (plain(p)) {
      at::parallel_for(0, p.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
        muon_apply(f32(p), f32(update), begin, end, static_cast<float>(keep), static_cast<float>(step));
      });
    } else {
      p.mul_(keep).add_(update, -step);
    }
  }
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, Tensor>> result;
  for (size_t i = 0; i < states_.size(); ++i) {
    const std::string& name = parameters_[i].first;
    result.emplace_back("m." + name, states_[i].m);
    if (states_[i].v.defined()) result.emplace_back("v." + name, states_[i].v);
    result.emplace_back("steps." + name, states_[i].steps);
  }
  return result;
}

void Optimizer::load_state(const std::vector<std::pair<std::string, Tensor>>& state, const std::string& source) {
  std::map<std::string, Tensor> stored(state.begin(), state.end());
  for (auto& [name, value] : this->state()) {
    const auto found = stored.find(name);
    if (found == stored.end()) fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source, name);
    if (found->second.sizes() != value.sizes())
      fail(ErrorCode::kBadFile, "{}: tensor {} has another shape", source, name);
    value.copy_(found->second);
  }
}

}  // namespace minicpm::train
