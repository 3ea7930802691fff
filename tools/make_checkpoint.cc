// Writes checkpoints with random weights: for tests, demonstrations and timing. They have the names, shapes, metadata
// and tokenizer files of the published models, so every program that reads those reads these.
//
//   make_checkpoint --version v45 --size tiny --format hf --type F32 --seed 7 --out FOLDER
//   make_checkpoint --version v45 --size full --format gguf --type Q4_K_M --out model.gguf
//
// --version  a row of models/versions.cc: v45, v26, ..., or a language model alone: qwen3, qwen2, ...
// --size     tiny: seconds, all widths multiples of 256, so that every block format is possible
//            small: some million parameters
//            full: the shape of the published model
//            tower: full vision tower and resampler, language model of one narrow layer
//            qwen3-0.6b, qwen3-8b: these language models, with the full vision tower where the version has one
// --format   hf: a folder with config.json, preprocessor_config.json, tokenizer files and safetensors shards
//            gguf: PATH.gguf and, beside it, mmproj-PATH.gguf; or a folder that gets both
//            o26 has its sound encoder, speech decoder and vocoder in both
// --type     F32, F16, BF16; for gguf also the block formats and the mixtures Q4_K_M and Q5_K_M. Rows that are no whole
//            number of blocks get a related format with smaller blocks, or F16.
//
// Weights are normal with mean 0 and variance 1 / inputs, norms are near 1 and biases near 0, so activations keep their
// size. Equal arguments give equal bytes, whatever the number of threads, and both formats hold the same values. Large
// files in block formats get random codes instead of quantised normals (--blocks): same size, speed and spread of the
// values in a fraction of the time.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/thread_pool.h"
#include "checkpoint/formats.h"
#include "checkpoint/random_weights.h"
#include "checkpoint/shapes.h"
#include "checkpoint/speech.h"
#include "checkpoint/vocabulary.h"
#include "io/gguf.h"
#include "io/gguf_vocabulary.h"
#include "io/safetensors.h"
#include "models/model_config.h"
#include "models/versions.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string version = "v45";
  std::string size = "tiny";
  std::string format = "hf";
  std::string type = "F32";
  std::string mmproj_type;  // empty: as `type` if that is a float format, else F16
  std::string blocks = "auto";
  std::string out;
  uint64_t seed = 1;
  int64_t layers = 0;  // 0: as the size says
  int threads = 0;
};

bool use_random_codes(const Options& options, const std::vector<PartSpec>& specs) {
  if (options.blocks != "auto") return options.blocks == "random";
  constexpr int64_t kLargeModel = 300'000'000;  // parameters; quantising takes about 25 ns each
  int64_t total = 0;
  for (const PartSpec& part : specs)
    total += part.spec.numel();
  return total > kLargeModel;
}

void write_hf(const Options& options, const ModelConfig& config, ThreadPool& pool) {
  const TypeRow& type = type_row(options.type);
  if (info(type.base).is_quantised) {
    fail(ErrorCode::kInvalidRequest, "--type {}: a Hugging Face folder can hold F32, F16 or BF16", options.type);
  }
  const fs::path folder = options.out;
  fs::create_directories(folder);
  Json json = write_hf_config(config);
  json["torch_dtype"] = type.base == DType::kF32 ? "float32" : type.base == DType::kF16 ? "float16" : "bfloat16";
  if (config.version->gguf_arch == "minicpm") {
    json["scale_emb"] = 12;
    json["scale_depth"] = 1.4;
    json["dim_model_base"] = 256;
  }
  const SpeechShape& speech = speech_shape(options.size);
  const int64_t hidden = config.decoder.hidden_size;
  if (config.version->sound) json["tts_config"] = speech_config_json(speech_config(speech, hidden));
  write_file_atomically(folder / "config.json", json.dump(2) + "\n");
  if (config.has_vision()) {
    write_file_atomically(folder / "preprocessor_config.json", write_preprocessor_config(config).dump(2) + "\n");
  }
  const Vocabulary vocabulary = make_vocabulary(config.decoder.vocab_size, config.version->sound);
  write_file_atomically(folder / "tokenizer.json", tokenizer_json(vocabulary));
  write_file_atomically(folder / "tokenizer_config.json",
                        tokenizer_config_json(vocabulary, config.decoder.max_positions));

  std::vector<std::string> names;  // in the order of the tables
  std::map<std::string, std::vector<TensorSpec>> parts;
  for (const PartSpec& part : tensor_specs(config)) {
    if (!is_present(part.spec, config)) continue;
    std::vector<TensorSpec>& same_name = parts[part.spec.hf];
    if (same_name.empty()) names.push_back(part.spec.hf);
    same_name.push_back(part.spec);
  }
  const RandomWeights weights{config, pool, options.seed, false};
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : names)
    tensors.push_back(random_hf_tensor(parts[name], type.base, weights));
  if (config.version->sound) {
    for (const auto& [name, shape] : speech_tensors(speech, hidden))
      tensors.push_back(random_plain(std::string(kSpeechPrefix) + name, shape, options.seed, type.base));
    write_speech_assets(speech, folder, options.seed);
  }
  write_safetensors_folder(folder, std::move(tensors));
}

struct GgufPaths {
  fs::path model, mmproj;
};

GgufPaths gguf_paths(const Options& options, const std::string& mmproj_type) {
  const fs::path out = options.out;
  if (out.extension() == ".gguf") {
    if (out.has_parent_path()) fs::create_directories(out.parent_path());
    return {out, out.parent_path() / ("mmproj-" + out.filename().string())};
  }
  fs::create_directories(out);
  return {out / ("model-" + options.type + ".gguf"), out / ("mmproj-model-" + mmproj_type + ".gguf")};
}

void add_language_metadata(const ModelConfig& config, const TypeRow& type, GgufWriter& model) {
  const std::string arch(config.version->gguf_arch);
  const auto head_dim = static_cast<uint32_t>(config.decoder.head_dim);
  model.set_u32("general.file_type", type.file_type);
  model.set_u32("general.quantization_version", 2);
  if (arch == "llama" || arch == "minicpm") model.set_u32(arch + ".rope.dimension_count", head_dim);
  if (arch == "minicpm") {
    model.set_f32("minicpm.embedding_scale", config.decoder.embedding_scale);
    model.set_f32("minicpm.residual_scale", config.decoder.residual_scale);
    model.set_f32("minicpm.logit_scale", config.decoder.logit_divisor);
  }
  write_vocabulary(gguf_vocabulary(make_vocabulary(config.decoder.vocab_size, config.version->sound)), model);
  model.set_bool("tokenizer.ggml.add_bos_token", false);
}

void add_speech(const Options& options, const ModelConfig& config, const TypeRow& type, GgufWriter& mmproj) {
  const SpeechShape& speech = speech_shape(options.size);
  write_gguf_speech_config(speech_config(speech, config.decoder.hidden_size), mmproj);
  mmproj.set_string(kSpeechTokenizerKey, speech_tokenizer_json(speech));
  for (const auto& [name, shape] : speech_tensors(speech, config.decoder.hidden_size)) {
    const std::string full = std::string(kSpeechPrefix) + name;
    if (name == "model.embed_tokens.weight") continue;  // as when a folder is converted
    mmproj.add_tensor(random_plain(full, shape, options.seed, speech_format(full, shape, DType::kF32, type)));
  }
  for (const auto& [name, shape] : vocoder_tensors(speech)) {
    TensorToWrite tensor = random_plain(name, shape, options.seed, DType::kF32);
    tensor.name = std::string(kVocoderPrefixGguf) + name;
    mmproj.add_tensor(std::move(tensor));
  }
}

void write_gguf(const Options& options, const ModelConfig& config, ThreadPool& pool) {
  const TypeRow& type = type_row(options.type);
  std::string mmproj_name = options.mmproj_type;
  if (mmproj_name.empty()) mmproj_name = info(type.base).is_quantised ? "F16" : options.type;
  const TypeRow& mmproj_type = type_row(mmproj_name);
  const GgufPaths paths = gguf_paths(options, mmproj_name);

  GgufWriter model, mmproj;
  write_gguf_config(config, model, config.has_vision() ? &mmproj : nullptr);
  add_language_metadata(config, type, model);
  const std::vector<PartSpec> specs = tensor_specs(config);
  const RandomWeights weights{config, pool, options.seed, use_random_codes(options, specs)};
  for (const PartSpec& part : specs) {
    if (!is_present(part.spec, config)) continue;
    const bool language = part.part == ModelPart::kLanguage;
    const DType dtype = language ? language_format(part.spec, type, config) : projector_format(part.spec, mmproj_type);
    (language ? model : mmproj).add_tensor(random_tensor(part.spec, dtype, weights));
  }
  model.write(paths.model);
  if (!config.has_vision()) return;
  if (config.version->sound) add_speech(options, config, mmproj_type, mmproj);
  mmproj.set_u32("general.file_type", mmproj_type.file_type);
  // Other programs ask for this table although they compute it; its size does not matter to them.
  const std::vector<float> zeros(static_cast<size_t>(4 * config.resampler->embed_dim));
  mmproj.add_tensor({"resampler.pos_embed_k", DType::kF32, {4, config.resampler->embed_dim}, [&](const ByteSink& sink) {
                       sink(std::as_bytes(std::span(zeros)));
                     }});
  mmproj.write(paths.mmproj);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Writes a checkpoint with random weights.");
  app.add_option("--version", options.version, "model version: v45, v26, v40, qwen3, ...");
  app.add_option("--size", options.size, "tiny, small, full, tower, qwen3-0.6b or qwen3-8b");
  app.add_option("--format", options.format, "hf or gguf")->check(CLI::IsMember({"hf", "gguf"}));
  app.add_option("--type", options.type, "number format of the matrices: F32, BF16, Q8_0, Q4_K_M, ...");
  app.add_option("--mmproj-type", options.mmproj_type, "the same for the projector file (gguf)");
  app.add_option("--blocks", options.blocks, "quantised normals or random codes")
      ->check(CLI::IsMember({"auto", "quantised", "random"}));
  app.add_option("--layers", options.layers, "number of decoder layers, instead of the size's")
      ->check(CLI::Range(1, 4096));
  app.add_option("--seed", options.seed, "equal seeds give equal files");
  app.add_option("--threads", options.threads, "0: one per processor")->check(CLI::Range(0, 1024));
  app.add_option("--out", options.out, "folder, or PATH.gguf")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    ModelConfig config = make_config(options.version, options.size, options.layers);
    config.gguf = options.format == "gguf";
    ThreadPool pool(options.threads);
    options.format == "hf" ? write_hf(options, config, pool) : write_gguf(options, config, pool);
  } catch (const std::exception& error) {
    fmt::print(stderr, "make_checkpoint: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm

int main(int argc, char** argv) {
  return minicpm::run(argc, argv);
}
