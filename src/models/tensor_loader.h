// Fills weight structs from files by walking over the tables.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/weight_source.h"
#include "models/tables.h"

namespace minicpm {

/// Parameters that are held in memory in a form of their own: f32 norms, biases and tables, and transposed matrices.
class ConvertedStore {
 public:
  Tensor allocate(std::span<const int64_t> shape);
  void* allocate_bytes(size_t bytes);
  int64_t bytes() const { return bytes_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> buffers_;
  int64_t bytes_ = 0;
};

class TensorLoader {
 public:
  /// `gguf` tells which of the two names is looked up.
  TensorLoader(const WeightSource& source, bool gguf, ConvertedStore& store)
      : source_(&source), gguf_(gguf), store_(&store) {}

  /// All rows of one component into `weights`. `exchange_ffn`: the file calls ffn_down what the table calls ffn_up.
  /// Throws Error bad_file naming the first tensor that is missing or has another shape.
  template <typename Config, typename Weights>
  void load(std::span<const TensorRow<Config, Weights>> rows, const Config& config, std::string_view hf_prefix,
            std::string_view gguf_prefix, Weights& weights) {
    for (const auto& row : rows) {
      const TensorSpec spec = make_spec(row, config, hf_prefix, gguf_prefix);
      if (row.weight != nullptr) {
        weights.*row.weight = load_weight(spec);
      } else {
        weights.*row.tensor = load_f32(spec);
      }
    }
  }

  /// Throws Error bad_file naming the first tensor that was not asked for. Those that start with one of `other_parts`
  /// (prefixes, separated by blanks) are let pass.
  void check_no_extra(std::string_view other_parts = {}) const;

  /// GGUF towers of newer converters: ffn_up and ffn_down change places.
  void set_exchange_ffn(bool exchange) { exchange_ffn_ = exchange; }

 private:
  /// The part of a stored tensor that the field needs, or an undefined view if it is optional and absent.
  Weight find_view(const TensorSpec& spec);
  Weight load_weight(const TensorSpec& spec);
  Tensor load_f32(const TensorSpec& spec);

  const WeightSource* source_;
  bool gguf_;
  ConvertedStore* store_;
  bool exchange_ffn_ = false;
  std::set<std::string, std::less<>> used_;
};

}  // namespace minicpm
