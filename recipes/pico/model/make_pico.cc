// Writes the folder that the training of pico or pico-o starts from: everything of a MiniCPM-V 4.5 or MiniCPM-o 2.6
// checkpoint but the weights.
//
//   make_pico --out FOLDER [--model recipes/pico/model.json] [--words recipes/pico/words.txt]
//
// Prints how many weights the model will have and how large its files will be. Equal inputs give equal bytes.
// --random-weights SEED adds weights that know nothing, for trying out what needs a model of this shape.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/thread_pool.h"
#include "checkpoint/formats.h"
#include "checkpoint/random_weights.h"
#include "checkpoint/shapes.h"
#include "io/safetensors.h"
#include "models/model_config.h"
#include "vocabulary.h"

namespace minicpm::pico {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxInputBytes = 1u << 20;

int64_t require_int(const JsonObject& json, std::string_view key) {
  const auto value = json.find_int(key);
  if (!value) fail(ErrorCode::kBadFile, "{}: \"{}\" is missing", json.source(), key);
  return *value;
}

float require_number(const JsonObject& json, std::string_view key) {
  const auto value = json.find_number(key);
  if (!value) fail(ErrorCode::kBadFile, "{}: \"{}\" is missing", json.source(), key);
  return static_cast<float>(*value);
}

JsonObject require_object(const JsonObject& json, std::string_view key) {
  auto value = json.find_object(key);
  if (!value) fail(ErrorCode::kBadFile, "{}: \"{}\" is missing", json.source(), key);
  return *value;
}

VisionConfig read_vision(const JsonObject& json) {
  VisionConfig vision;
  vision.hidden_size = require_int(json, "hidden_size");
  vision.num_layers = require_int(json, "num_hidden_layers");
  vision.num_heads = require_int(json, "num_attention_heads");
  vision.intermediate_size = require_int(json, "intermediate_size");
  vision.patch_size = require_int(json, "patch_size");
  vision.image_size = require_int(json, "image_size");
  vision.finish(json.source());
  return vision;
}

DecoderConfig read_decoder(const JsonObject& json, int64_t vocab_size) {
  DecoderConfig decoder;
  decoder.vocab_size = vocab_size;
  decoder.hidden_size = require_int(json, "hidden_size");
  decoder.num_layers = require_int(json, "num_hidden_layers");
  decoder.num_heads = require_int(json, "num_attention_heads");
  decoder.num_kv_heads = require_int(json, "num_key_value_heads");
  decoder.head_dim = require_int(json, "head_dim");
  decoder.intermediate_size = require_int(json, "intermediate_size");
  decoder.max_positions = require_int(json, "max_position_embeddings");
  decoder.rope_theta = require_number(json, "rope_theta");
  decoder.rms_norm_eps = require_number(json, "rms_norm_eps");
  decoder.tied_embeddings = json.find_bool("tie_word_embeddings").value_or(false);
  decoder.finish(json.source());
  return decoder;
}

AudioConfig read_audio(const JsonObject& json, int64_t output_size) {
  AudioConfig audio;
  audio.hidden_size = require_int(json, "d_model");
  audio.num_layers = require_int(json, "encoder_layers");
  audio.num_heads = require_int(json, "encoder_attention_heads");
  audio.intermediate_size = require_int(json, "encoder_ffn_dim");
  audio.output_size = output_size;
  audio.finish(json.source());
  return audio;
}

const VersionRow& read_version(const JsonObject& json) {
  const std::string key = json.find_string("version").value_or("");
  const VersionRow* version = version_by_key(key);
  if (version == nullptr || !version->vision) {
    fail(ErrorCode::kBadFile, "{}: \"version\" is \"{}\", expected that of a model with vision, like v45",
         json.source(), key);
  }
  return *version;
}

ModelConfig read_sizes(const JsonObject& json, int64_t vocab_size) {
  const std::string& file = json.source();
  ModelConfig config;
  config.version = &read_version(json);
  config.source = file;
  config.decoder = read_decoder(require_object(json, "decoder"), vocab_size);
  config.vision = read_vision(require_object(json, "vision"));
  ResamplerConfig resampler;
  resampler.query_num = require_int(json, "query_num");
  resampler.embed_dim = config.decoder.hidden_size;
  resampler.vision_dim = config.vision->hidden_size;
  resampler.finish(file);
  config.resampler = resampler;
  config.slices.scale_resolution = static_cast<int>(require_int(json, "scale_resolution"));
  config.slices.max_slice_nums = static_cast<int>(require_int(json, "max_slice_nums"));
  config.slices.patch_size = static_cast<int>(config.vision->patch_size);
  if (config.version->sound) config.audio = read_audio(require_object(json, "audio"), config.decoder.hidden_size);
  return config;
}

void print_counts(const ModelConfig& config) {
  std::map<std::string, int64_t> counts;
  int64_t total = 0, gguf_bytes = 0;
  for (const PartSpec& part : tensor_specs(config)) {
    const TensorSpec& spec = part.spec;
    if (!is_present(spec, config)) continue;
    const bool language = part.part == ModelPart::kLanguage;
    counts[language                                ? "language model"
           : spec.hf.starts_with(kVisionPrefixHf)  ? "vision tower"
           : spec.hf.starts_with(kResamplerPrefix) ? "resampler"
                                                   : "sound encoder"] += spec.numel();
    total += spec.numel();
    const TypeRow& type = type_row("Q8_0");
    const DType dtype = language ? language_format(spec, type, config) : projector_format(spec, type);
    gguf_bytes += spec.numel() / spec.shape.back() * row_bytes(dtype, spec.shape.back());
  }
  const auto megabytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  for (const auto& [name, count] : counts)
    fmt::print("{:<16}{:>11} weights\n", name, count);
  fmt::print("{:<16}{:>11} weights, {} tokens\n", "total", total, config.decoder.vocab_size);
  fmt::print("bf16 folder {:.2f} MB, Q8_0 GGUF pair {:.2f} MB, together {:.2f} MB\n", megabytes(2 * total),
             megabytes(gguf_bytes), megabytes(2 * total + gguf_bytes));
}

void write_folder(const fs::path& folder, const ModelConfig& config, const Vocabulary& vocabulary) {
  fs::create_directories(folder);
  const auto write = [&](const char* name, std::string_view text) { write_file_atomically(folder / name, text); };
  Json json = write_hf_config(config);
  json["torch_dtype"] = "bfloat16";
  json["bos_token_id"] = vocabulary.id("<|im_start|>");
  json["eos_token_id"] = vocabulary.id("<|im_end|>");
  json["pad_token_id"] = vocabulary.id("<|endoftext|>");
  write("config.json", json.dump(2) + "\n");
  write("preprocessor_config.json", write_preprocessor_config(config).dump(2) + "\n");
  write("tokenizer.json", tokenizer_json(vocabulary));
  write("tokenizer_config.json", tokenizer_config_json(vocabulary, config.decoder.max_positions));
  write("special_tokens_map.json", special_tokens_map_json(vocabulary));
  const Json generation = {{"bos_token_id", vocabulary.id("<|im_start|>")},
                           {"eos_token_id", {vocabulary.id("<|im_end|>"), vocabulary.id("<|endoftext|>")}},
                           {"pad_token_id", vocabulary.id("<|endoftext|>")},
                           {"do_sample", false}};
  write("generation_config.json", generation.dump(2) + "\n");
}

void write_random_weights(const fs::path& folder, const ModelConfig& config, uint64_t seed) {
  std::vector<std::string> names;  // in the order of the tables
  std::map<std::string, std::vector<TensorSpec>> parts;
  for (const PartSpec& part : tensor_specs(config)) {
    if (!is_present(part.spec, config)) continue;
    std::vector<TensorSpec>& same_name = parts[part.spec.hf];
    if (same_name.empty()) names.push_back(part.spec.hf);
    same_name.push_back(part.spec);
  }
  ThreadPool pool(1);
  const RandomWeights weights{config, pool, seed, false};
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : names)
    tensors.push_back(random_hf_tensor(parts[name], DType::kBF16, weights));
  write_safetensors(folder / "model.safetensors", std::move(tensors));
}

int run(int argc, char** argv) {
  std::optional<uint64_t> seed;
  std::string out, model = "recipes/pico/model.json", words = "recipes/pico/words.txt";
  CLI::App app("Writes the folder that the training of pico starts from: all files but the weights.");
  app.add_option("--out", out, "folder to write")->required();
  app.add_option("--model", model, "sizes")->capture_default_str();
  app.add_option("--words", words, "words that are one token after a blank")->capture_default_str();
  app.add_option("--random-weights", seed, "also write model.safetensors with random weights from this seed");
  CLI11_PARSE(app, argc, argv);
  try {
    const Json text = parse_json(read_file(model, kMaxInputBytes), model);
    const JsonObject json(text, model);
    const Vocabulary vocabulary =
        make_vocabulary(parse_words(read_file(words, kMaxInputBytes), words), read_version(json).sound);
    const ModelConfig config = read_sizes(json, static_cast<int64_t>(vocabulary.tokens.size()));
    write_folder(out, config, vocabulary);
    if (seed) write_random_weights(out, config, *seed);
    print_counts(config);
  } catch (const std::exception& error) {
    fmt::print(stderr, "make_pico: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm::pico

int main(int argc, char** argv) {
  return minicpm::pico::run(argc, argv);
}
