// A checkpoint in the Hugging Face layout as tensors and metadata of a GGUF pair.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "checkpoint/formats.h"
#include "io/gguf.h"
#include "io/gguf_vocabulary.h"
#include "io/safetensors.h"
#include "io/tensor_to_write.h"
#include "models/model_config.h"
#include "models/speech_files.h"
#include "models/versions.h"
#include "quant/format.h"
#include "text/tokenizer_loader.h"

namespace minicpm {

/// Rows of `spec` as they lie in its stored tensor.
class StoredRows {
 public:
  StoredRows(const TensorSpec& spec, const StoredTensor& stored, bool neighbours, int64_t head_dim)
      : view_(stored.view), spec_(spec), neighbours_(neighbours), head_dim_(head_dim) {
    const std::vector<int64_t> expected = spec.hf_shape();
    if (!std::ranges::equal(view_.shape(), expected)) {
      fail(ErrorCode::kBadFile, "{}: tensor {} has shape {}, expected {}", stored.file, stored.name,
           shape_string(view_.shape()), shape_string(expected));
    }
    if (format_traits(view_.dtype) == nullptr || info(view_.dtype).is_quantised) {
      fail(ErrorCode::kUnsupported, "{}: tensor {} has type {}, expected F32, F16 or BF16", stored.file, stored.name,
           minicpm::name(view_.dtype));
    }
  }

  /// Row `r` of the field (its last dim is the row) in f32.
  void read(int64_t r, std::vector<float>& out) const {
    const auto cols = spec_.shape.back();
    out.resize(static_cast<size_t>(cols));
    if (spec_.layout == Layout::kTransposed) {
      for (int64_t c = 0; c < cols; ++c)
        read_elements(c * spec_.shape[0] + r, &out[static_cast<size_t>(c)], 1);
      return;
    }
    if (neighbours_) r = r / head_dim_ * head_dim_ + r % head_dim_ % 2 * (head_dim_ / 2) + r % head_dim_ / 2;
    if (spec_.layout != Layout::kSame) {
      const int64_t third = static_cast<int64_t>(spec_.layout) - static_cast<int64_t>(Layout::kFirstThird);
      read_elements(third * spec_.numel() + r * cols, out.data(), cols);
    } else {
      read_elements(r * cols, out.data(), cols);
    }
  }

 private:
  void read_elements(int64_t first, float* out, int64_t count) const {
    const auto* bytes = static_cast<const std::byte*>(view_.data) + first * info(view_.dtype).block_bytes;
    dequantize_row(view_.dtype, bytes, out, count);
  }

  Weight view_;
  TensorSpec spec_;
  bool neighbours_;  // GGUF rotates neighbouring rows of q and k, safetensors rows half a head apart
  int64_t head_dim_;
};

/// The tensor in `dtype`; rows are converted by all threads of the pool while it is written. `stored` and `pool` must
/// stay valid until then.
inline TensorToWrite converted_tensor(const TensorSpec& spec, DType dtype, StoredRows rows, ThreadPool& pool) {
  constexpr int64_t kChunkElements = 1 << 18;
  TensorToWrite tensor{spec.gguf, dtype, spec.shape, {}};
  const int64_t cols = spec.shape.back(), count = spec.numel() / cols;
  tensor.produce = [dtype, cols, count, rows = std::move(rows), &pool](const ByteSink& sink) {
    const int64_t chunk = std::max<int64_t>(1, kChunkElements / cols);
    const int64_t bytes = row_bytes(dtype, cols);
    std::vector<std::vector<std::byte>> parts(static_cast<size_t>(4 * pool.num_threads()));
    for (int64_t first = 0; first < count;) {
      const int64_t wanted = (count - first + chunk - 1) / chunk;
      const int64_t batch = std::min<int64_t>(static_cast<int64_t>(parts.size()), wanted);
      pool.run(batch, [&](int64_t i, int) {
        const int64_t begin = first + i * chunk, end = std::min(count, begin + chunk);
        std::vector<float> row;
        std::vector<std::byte>& out = parts[static_cast<size_t>(i)];
        out.resize(static_cast<size_t>((end - begin) * bytes));
        for (int64_t r = begin; r < end; ++r) {
          rows.read(r, row);
          quantize_row(dtype, row.data(), out.data() + (r - begin) * bytes, cols);
        }
      });
      for (int64_t i = 0; i < batch; ++i)
        sink(parts[static_cast<size_t>(i)]);
      first += batch * chunk;
    }
  };
  return tensor;
}

struct ConvertTypes {
  const TypeRow& model;
  const TypeRow& mmproj;
};

/// Metadata that only language models have, and the vocabulary.
inline void add_language_metadata(const ModelConfig& config, const TypeRow& type, GgufVocabulary vocabulary,
                                  GgufWriter& model) {
  const std::string arch(config.version->gguf_arch);
  const DecoderConfig& decoder = config.decoder;
  model.set_u32("general.file_type", type.file_type);
  model.set_u32("general.quantization_version", 2);
  if (arch == "llama" || arch == "minicpm")
    model.set_u32(arch + ".rope.dimension_count", static_cast<uint32_t>(decoder.head_dim));
  if (arch == "minicpm") {
    model.set_f32("minicpm.embedding_scale", decoder.embedding_scale);
    model.set_f32("minicpm.residual_scale", decoder.residual_scale);
    model.set_f32("minicpm.logit_scale", decoder.logit_divisor);
  }
  if (!decoder.rope_long_factors.empty()) {
    model.set_string(arch + ".rope.scaling.type", "longrope");
    model.set_u32(arch + ".rope.scaling.original_context_length", static_cast<uint32_t>(decoder.rope_switch_length));
    model.set_f32(arch + ".rope.scaling.attn_factor", decoder.rope_attention_factor);
  }
  write_vocabulary(vocabulary, model);
  if (vocabulary.model == "gpt2") model.set_bool("tokenizer.ggml.add_bos_token", false);
}

/// The factors must stay valid until the file is written.
inline void add_rope_factors(const DecoderConfig& decoder, GgufWriter& model) {
  const auto add = [&](const char* name, const std::vector<float>& factors) {
    if (factors.empty()) return;
    const auto count = static_cast<int64_t>(factors.size());
    model.add_tensor(
        {name, DType::kF32, {count}, [&factors](const ByteSink& sink) { sink(std::as_bytes(std::span(factors))); }});
  };
  const bool is_long = !decoder.rope_long_factors.empty();
  add(is_long ? "rope_factors_short.weight" : "rope_freqs.weight", decoder.rope_factors);
  add("rope_factors_long.weight", decoder.rope_long_factors);
}

/// The stored tensor behind `spec`, or null if it is optional and absent. `used` gathers the names.
inline const StoredTensor* find_stored(const TensorSpec& spec, const ModelConfig& config, const WeightSource& source,
                                       std::set<std::string, std::less<>>& used) {
  used.insert(spec.hf);
  if (spec.gguf == "output.weight" && config.decoder.tied_embeddings) return nullptr;
  const StoredTensor* stored = source.find(spec.hf);
  if (stored == nullptr && spec.presence == Presence::kRequired) {
    fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source.path(), spec.hf);
  }
  return stored;
}

/// The speech decoder with tokenizer and vocoder, if the folder has all of them. Returns the vocoder's file, which must
/// stay open until all is written.
inline std::unique_ptr<WeightSource> add_speech(const std::filesystem::path& folder, const WeightSource& source,
                                                const TypeRow& type, ThreadPool& pool, GgufWriter& mmproj,
                                                std::set<std::string, std::less<>>& used) {
  ModelFiles files;
  files.folder = folder;
  if (!has_speech_files(files)) return nullptr;
  SpeechSources speech = open_speech(files);
  write_gguf_speech_config(speech.config, mmproj);
  mmproj.set_string(kSpeechTokenizerKey, speech.words);
  for (const StoredTensor& stored : source.tensors()) {
    if (!stored.name.starts_with(kSpeechPrefix)) continue;
    used.insert(stored.name);
    if (stored.name == "tts.model.embed_tokens.weight") continue;  // a table that nothing reads
    const TensorSpec spec{
        .hf = stored.name, .gguf = stored.name, .shape = {stored.view.shape().begin(), stored.view.shape().end()}};
    const DType dtype = speech_format(spec.gguf, spec.shape, stored.view.dtype, type);
    mmproj.add_tensor(converted_tensor(spec, dtype, {spec, stored, false, 1}, pool));
  }
  for (const StoredTensor& stored : speech.vocoder->tensors()) {
    if (stored.name.starts_with("backbone.") || stored.name.starts_with("head.out."))
      mmproj.add_tensor(std::string(kVocoderPrefixGguf) + stored.name, stored.view);
  }
  return std::move(speech.vocoder);
}

/// Converts `folder` into `model_file` and, for models that see, `mmproj_file`. Returns the names of tensors that have
/// no place in a GGUF pair. Throws Error as reading a model does, and io.
inline std::vector<std::string> convert_folder(const std::filesystem::path& folder,
                                               const std::filesystem::path& model_file,
                                               const std::filesystem::path& mmproj_file, const ConvertTypes& types,
                                               const std::string& model_name, ThreadPool& pool) {
  const std::filesystem::path processor = folder / "preprocessor_config.json";
  ModelConfig config = read_hf_config(folder / "config.json", std::filesystem::exists(processor) ? processor : "");
  config.gguf = true;
  const auto source = open_safetensors_folder(folder);
  GgufWriter model, mmproj;
  write_gguf_config(config, model, config.has_vision() ? &mmproj : nullptr);
  model.set_string("general.name", model_name);
  add_language_metadata(config, types.model, gguf_vocabulary(folder, config.decoder.vocab_size), model);
  add_rope_factors(config.decoder, model);

  const std::string_view arch = config.version->gguf_arch;
  std::set<std::string, std::less<>> used;
  for (const PartSpec& part : tensor_specs(config)) {
    const TensorSpec& spec = part.spec;
    const StoredTensor* stored = find_stored(spec, config, *source, used);
    if (stored == nullptr) continue;
    const bool language = part.part == ModelPart::kLanguage;
    const bool rotated =
        language && (spec.gguf.find(".attn_q.") != spec.gguf.npos || spec.gguf.find(".attn_k.") != spec.gguf.npos);
    const bool neighbours = rotated && (arch == "llama" || arch == "minicpm");
    const DType dtype = language ? language_format(spec, types.model, config) : projector_format(spec, types.mmproj);
    (language ? model : mmproj)
        .add_tensor(converted_tensor(spec, dtype, {spec, *stored, neighbours, config.decoder.head_dim}, pool));
  }
  model.write(model_file);
  if (config.has_vision()) {
    const auto vocoder =
        config.version->sound ? add_speech(folder, *source, types.mmproj, pool, mmproj, used) : nullptr;
    mmproj.set_string("general.name", model_name);
    mmproj.set_u32("general.file_type", types.mmproj.file_type);
    // Other programs ask for this table although they compute it; its size does not matter to them.
    const std::vector<float> zeros(static_cast<size_t>(4 * config.resampler->embed_dim));
    mmproj.add_tensor(
        {"resampler.pos_embed_k", DType::kF32, {4, config.resampler->embed_dim}, [&](const ByteSink& sink) {
           sink(std::as_bytes(std::span(zeros)));
         }});
    mmproj.write(mmproj_file);
  }
  std::vector<std::string> left_out;
  for (const StoredTensor& tensor : source->tensors()) {
    if (!used.contains(tensor.name)) left_out.push_back(tensor.name);
  }
  return left_out;
}

}  // namespace minicpm
