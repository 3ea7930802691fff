// Which number format each matrix of a checkpoint gets.
#pragma once

#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "models/model_config.h"
#include "quant/blocks.h"

namespace minicpm {

struct TypeRow {
  std::string_view name;
  DType base;          // most matrices
  DType more;          // some attn_v and ffn_down, and the output matrix
  uint32_t file_type;  // general.file_type
};

inline constexpr TypeRow kTypes[] = {
    {"F32", DType::kF32, DType::kF32, 0},           {"F16", DType::kF16, DType::kF16, 1},
    {"Q4_0", DType::kQ4_0, DType::kQ4_0, 2},        {"Q4_1", DType::kQ4_1, DType::kQ4_1, 3},
    {"Q8_0", DType::kQ8_0, DType::kQ8_0, 7},        {"Q5_0", DType::kQ5_0, DType::kQ5_0, 8},
    {"Q5_1", DType::kQ5_1, DType::kQ5_1, 9},        {"Q2_K", DType::kQ2_K, DType::kQ2_K, 10},
    {"Q3_K", DType::kQ3_K, DType::kQ3_K, 12},       {"Q4_K", DType::kQ4_K, DType::kQ4_K, 14},
    {"Q4_K_M", DType::kQ4_K, DType::kQ6_K, 15},     {"Q5_K", DType::kQ5_K, DType::kQ5_K, 16},
    {"Q5_K_M", DType::kQ5_K, DType::kQ6_K, 17},     {"Q6_K", DType::kQ6_K, DType::kQ6_K, 18},
    {"IQ4_NL", DType::kIQ4_NL, DType::kIQ4_NL, 25}, {"IQ4_XS", DType::kIQ4_XS, DType::kIQ4_XS, 30},
    {"BF16", DType::kBF16, DType::kBF16, 32},
};

inline const TypeRow& type_row(const std::string& name) {
  const auto* row = std::ranges::find(kTypes, std::string_view(name), &TypeRow::name);
  if (row != std::end(kTypes)) return *row;
  std::string known;
  for (const TypeRow& type : kTypes)
    known += fmt::format(" {}", type.name);
  fail(ErrorCode::kInvalidRequest, "--type {}: not known; there are{}", name, known);
}

/// The format for rows of `cols`: the one asked for, a relative with blocks of 32, or F16.
inline DType fitting_format(DType dtype, int64_t cols) {
  if (cols % info(dtype).block_elements == 0) return dtype;
  if (cols % kSmallBlock != 0) return DType::kF16;
  switch (dtype) {
    case DType::kQ4_K:
      return DType::kQ5_0;
    case DType::kQ5_K:
      return DType::kQ5_1;
    case DType::kQ6_K:
      return DType::kQ8_0;
    case DType::kIQ4_XS:
      return DType::kIQ4_NL;
    default:
      return DType::kQ4_0;
  }
}

/// The layers whose attn_v and ffn_down the M mixtures store with more bits: the first and last eighth, and every third
/// between.
inline bool has_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

inline DType language_format(const TensorSpec& spec, const TypeRow& type, const ModelConfig& config) {
  if (spec.shape.size() == 1) return DType::kF32;
  const std::string_view name = spec.gguf;
  bool more = name == (config.decoder.tied_embeddings ? "token_embd.weight" : "output.weight");
  if (name.ends_with("attn_v.weight") || name.ends_with("ffn_down.weight")) {
    more = has_more_bits(std::stoll(spec.gguf.substr(4)), config.decoder.num_layers);  // "blk.N."
  }
  return fitting_format(more ? type.more : type.base, spec.shape.back());
}

inline DType projector_format(const TensorSpec& spec, const TypeRow& type) {
  if (spec.shape.size() == 1 || spec.role == Role::kTable) return DType::kF32;
  if (spec.gguf == "a.position_embd.weight") return DType::kF32;
  return fitting_format(type.base, spec.shape.back());
}

/// Of a tensor of the speech decoder under its name in the checkpoint. Its transformer takes the projector's type;
/// codec and heads, which are small and read as f32, stay as they are stored.
inline DType speech_format(std::string_view name, std::span<const int64_t> shape, DType stored, const TypeRow& type) {
  if (name.starts_with("tts.dvae.") || name.starts_with("tts.head_code.")) return stored;
  return shape.size() == 2 ? fitting_format(type.base, shape.back()) : DType::kF32;
}

}  // namespace minicpm
