#include "models/tables.h"

#include <algorithm>
#include <utility>

namespace minicpm {

int64_t TensorSpec::numel() const {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

bool is_redundant(std::string_view name) {
  constexpr std::string_view kSuffixes[] = {
      "rotary_emb.inv_freq",       "position_ids",          "rope_freqs.weight",    "rope_factors_long.weight",
      "rope_factors_short.weight", "resampler.pos_embed_k", "resampler.pos_embd_k", "resampler.pos_embed"};
  return std::ranges::any_of(kSuffixes, [&](std::string_view suffix) { return name.ends_with(suffix); });
}

std::string exchanged_ffn(std::string name) {
  if (const size_t at = name.find("ffn_down"); at != std::string::npos) return name.replace(at, 8, "ffn_up");
  if (const size_t at = name.find("ffn_up"); at != std::string::npos) return name.replace(at, 6, "ffn_down");
  return name;
}

std::vector<int64_t> TensorSpec::hf_shape() const {
  std::vector<int64_t> stored = shape;
  switch (layout) {
    case Layout::kSame:
      break;
    case Layout::kFirstThird:
    case Layout::kSecondThird:
    case Layout::kLastThird:
      stored[0] *= 3;
      break;
    case Layout::kTransposed:
      std::swap(stored[0], stored[1]);
      break;
  }
  return stored;
}

}  // namespace minicpm
