// One source of truth for names and sizes. A component (decoder, vision tower, resampler) states its hyper-parameters
// and its tensors once, as constexpr rows; loading, inspection, memory planning and checkpoint writing walk over them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace minicpm {

/// What a tensor is for; decides which formats it may be stored in and whether it is held in f32.
enum class Role {
  kLinear,     // matrix of a linear layer: any format, used in place
  kEmbedding,  // rows picked by id: any format, used in place
  kVector,     // norm weight or bias: converted to f32 at load
  kTable,      // small matrix that is read as f32: converted at load
};

enum class Presence {
  kRequired,
  kOptional,  // absent in some members of the family; the field stays undefined
};

/// How the stored tensor becomes the field.
enum class Layout {
  kSame,
  kFirstThird,  // safetensors hold q, k, v of one projection stacked along dim 0; GGUF files hold them apart
  kSecondThird,
  kLastThird,
  kTransposed,  // safetensors hold the transpose of what GGUF files and `linear` use
};

/// One hyper-parameter of Config: exactly one of the member pointers is set.
template <typename Config>
struct ParamRow {
  std::string_view hf;    // key in config.json (of the component's object); empty: not stored there
  std::string_view gguf;  // key after "<arch>." or "clip."; empty: not stored there
  int64_t Config::*integer = nullptr;
  float Config::*real = nullptr;
  bool Config::*flag = nullptr;
  Presence presence = Presence::kRequired;

  constexpr ParamRow(int64_t Config::*f, std::string_view hf, std::string_view gguf, Presence p = Presence::kRequired)
      : hf(hf), gguf(gguf), integer(f), presence(p) {}
  constexpr ParamRow(float Config::*f, std::string_view hf, std::string_view gguf, Presence p = Presence::kRequired)
      : hf(hf), gguf(gguf), real(f), presence(p) {}
  constexpr ParamRow(bool Config::*f, std::string_view hf, std::string_view gguf, Presence p = Presence::kRequired)
      : hf(hf), gguf(gguf), flag(f), presence(p) {}
};

/// One tensor of Weights, with the shape in terms of Config's sizes (PyTorch order).
template <typename Config, typename Weights>
struct TensorRow {
  Weight Weights::*weight = nullptr;  // kLinear, kEmbedding
  Tensor Weights::*tensor = nullptr;  // kVector, kTable
  std::string_view hf;
  std::string_view gguf;
  std::array<int64_t Config::*, kMaxRank> shape{};
  Role role = Role::kLinear;
  Presence presence = Presence::kRequired;
  Layout layout = Layout::kSame;

  constexpr TensorRow(Weight Weights::*f, std::string_view hf, std::string_view gguf,
                      std::array<int64_t Config::*, kMaxRank> shape, Role role = Role::kLinear,
                      Presence presence = Presence::kRequired, Layout layout = Layout::kSame)
      : weight(f), hf(hf), gguf(gguf), shape(shape), role(role), presence(presence), layout(layout) {}
  constexpr TensorRow(Tensor Weights::*f, std::string_view hf, std::string_view gguf,
                      std::array<int64_t Config::*, kMaxRank> shape, Role role = Role::kVector,
                      Presence presence = Presence::kRequired, Layout layout = Layout::kSame)
      : tensor(f), hf(hf), gguf(gguf), shape(shape), role(role), presence(presence), layout(layout) {}
};

/// A row with its names and sizes filled in: what inspection, planning and checkpoint writing see.
struct TensorSpec {
  std::string hf;              // full name in safetensors
  std::string gguf;            // full name in GGUF
  std::vector<int64_t> shape;  // of the field, PyTorch order; the stored safetensors shape differs by `layout`
  Role role = Role::kLinear;
  Presence presence = Presence::kRequired;
  Layout layout = Layout::kSame;

  int64_t numel() const;
  /// Shape as stored in safetensors: thirds are stacked, transposed ones turned.
  std::vector<int64_t> hf_shape() const;
};

/// Whether a tensor that some files hold can be computed, or belongs to a part that this program does not load from
/// them.
bool is_redundant(std::string_view name);

/// A GGUF name with ffn_up and ffn_down exchanged: the vision towers of older and newer converters differ so.
std::string exchanged_ffn(std::string name);

template <typename Config, typename Weights>
TensorSpec make_spec(const TensorRow<Config, Weights>& row, const Config& config, std::string_view hf_prefix,
                     std::string_view gguf_prefix) {
  TensorSpec spec;
  spec.hf = std::string(hf_prefix) + std::string(row.hf);
  spec.gguf = std::string(gguf_prefix) + std::string(row.gguf);
  for (int64_t Config::*size : row.shape) {
    if (size != nullptr) spec.shape.push_back(config.*size);
  }
  spec.role = row.role;
  spec.presence = row.presence;
  spec.layout = row.layout;
  return spec;
}

}  // namespace minicpm
