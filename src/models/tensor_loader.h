// Fills weight structs from files by walking over the tables.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/weight_source.h"
#include "models/lora.h"
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
  /// `gguf` tells which of the two names is looked up. `lora`, if not null and bound, replaces whole tensors and is
  /// attached to the matrices it adapts; it must outlive the weights.
  TensorLoader(const WeightSource& source, bool gguf, ConvertedStore& store, const Lora* lora = nullptr)
      : source_(&source), gguf_(gguf), store_(&store), lora_(lora) {}

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
  struct Found {
    const StoredTensor* tensor = nullptr;  // null: optional and absent
    bool gguf = false;                     // its layout is that of GGUF files
  };
  Found find(const TensorSpec& spec);
  /// The part of a stored tensor that the field needs.
  Weight view_of(const TensorSpec& spec, const Found& found);
  Weight transposed(const TensorSpec& spec, Weight view);
  Weight load_weight(const TensorSpec& spec);
  Tensor load_f32(const TensorSpec& spec);

  const WeightSource* source_;
  bool gguf_;
  ConvertedStore* store_;
  const Lora* lora_;
  bool exchange_ffn_ = false;
  std::set<std::string, std::less<>> used_;
};

}  // namespace minicpm
