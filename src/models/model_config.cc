#include "models/model_config.h"

#include <cctype>
#include <cmath>
#include <limits>

#include "base/file_map.h"

namespace minicpm {
namespace {

// Published ones have a few kilobytes; look-up in a parsed object is linear, so a file of many keys must not get far.
constexpr size_t kMaxConfigBytes = 128u << 10;
constexpr int64_t kDefaultQueries = 64;
constexpr char kAudioKeys[] = "clip.audio.", kSpeechKeys[] = "minicpmtts.";  // of GGUF metadata

// ---- reading one component through its rows ------------------------------------------------------------------------

template <typename Config>
void read_json_params(const JsonObject& json, std::span<const ParamRow<Config>> rows, Config& config) {
  for (const ParamRow<Config>& row : rows) {
    if (row.hf.empty()) continue;
    if (!json.has(row.hf)) {
      if (row.presence == Presence::kOptional) continue;
      fail(ErrorCode::kBadFile, "{}: \"{}\" is missing", json.source(), row.hf);
    }
    if (row.integer != nullptr) config.*row.integer = *json.find_int(row.hf);
    if (row.real != nullptr) config.*row.real = static_cast<float>(*json.find_number(row.hf));
    if (row.flag != nullptr) config.*row.flag = *json.find_bool(row.hf);
  }
}

template <typename Config>
void read_gguf_params(const GgufFile& file, std::string_view prefix, std::span<const ParamRow<Config>> rows,
                      Config& config) {
  for (const ParamRow<Config>& row : rows) {
    if (row.gguf.empty()) continue;
    const std::string key = std::string(prefix) + std::string(row.gguf);
    if (file.find_value(key) == nullptr) {
      if (row.presence == Presence::kOptional) continue;
      fail(ErrorCode::kBadFile, "{}: metadata key {} is missing", file.path(), key);
    }
    if (row.integer != nullptr) config.*row.integer = *file.find_int(key);
    if (row.real != nullptr) config.*row.real = static_cast<float>(*file.find_number(key));
    if (row.flag != nullptr) config.*row.flag = *file.find_bool(key);
  }
}

/// "4.5" from 4.5, "4.5" or "4.50"; empty when absent.
std::string version_text(const JsonObject& json) {
  const Json* value = json.find("version");
  if (value == nullptr) return "";
  if (value->is_number()) return fmt::format("{:.1f}", value->get<double>());
  return json.find_string("version").value_or("");
}

std::vector<float> read_factors(const JsonObject& json, std::string_view key) {
  const Json* value = json.find(key);
  if (value == nullptr || !value->is_array()) {
    fail(ErrorCode::kBadFile, "{}: \"{}\" must be an array of numbers", json.source(), key);
  }
  std::vector<float> factors;
  for (const Json& item : *value) {
    if (!item.is_number()) fail(ErrorCode::kBadFile, "{}: \"{}\" must hold numbers only", json.source(), key);
    factors.push_back(item.get<float>());
  }
  return factors;
}

/// The library reads the switch length and the attention scale from a top-level original_max_position_embeddings; the
/// same key inside rope_scaling is ignored, and then `factor` is required.
void read_rope_scaling(const JsonObject& json, DecoderConfig& config) {
  const auto scaling = json.find_object("rope_scaling");
  if (!scaling) return;
  const std::string type =
      scaling->has("rope_type") ? *scaling->find_string("rope_type") : scaling->find_string("type").value_or("");
  if (type == "default" || type.empty()) return;
  if (type != "longrope") {
    fail(ErrorCode::kUnsupported, "{}: rope_scaling of type \"{}\" is not supported (longrope is)", json.source(),
         type);
  }
  config.rope_factors = read_factors(*scaling, "short_factor");
  config.rope_long_factors = read_factors(*scaling, "long_factor");
  const auto original = json.find_int("original_max_position_embeddings");
  config.rope_switch_length = original.value_or(config.max_positions);
  double factor = 1.0;
  if (original) {
    factor = static_cast<double>(config.max_positions) / static_cast<double>(std::max<int64_t>(1, *original));
  } else if (scaling->has("factor")) {
    factor = *scaling->find_number("factor");
  } else {
    fail(ErrorCode::kBadFile, "{}: rope_scaling has no \"factor\"", json.source());
  }
  const double length = static_cast<double>(config.rope_switch_length);
  const double computed = factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(length));
  config.rope_attention_factor = static_cast<float>(scaling->find_number("attention_factor").value_or(computed));
}

/// MiniCPM-2.4B's scales, in the terms of its config.json.
void read_mup(const JsonObject& json, DecoderConfig& config) {
  config.embedding_scale = static_cast<float>(json.find_number("scale_emb").value_or(1.0));
  if (const auto depth = json.find_number("scale_depth")) {
    config.residual_scale = static_cast<float>(*depth / std::sqrt(static_cast<double>(config.num_layers)));
  }
  if (const auto base = json.find_number("dim_model_base"); base && *base > 0) {
    config.logit_divisor = static_cast<float>(static_cast<double>(config.hidden_size) / *base);
  }
}

void read_slice_config(const JsonObject& json, SliceConfig& slices) {
  const auto set = [&](std::string_view key, int& field) {
    if (const auto value = json.find_int(key)) {
      if (*value < 1 || *value > 1 << 16) {
        fail(ErrorCode::kBadFile, "{}: \"{}\" is {}, expected 1 to 65536", json.source(), key, *value);
      }
      field = static_cast<int>(*value);
    }
  };
  set("max_slice_nums", slices.max_slice_nums);
  set("scale_resolution", slices.scale_resolution);
  set("patch_size", slices.patch_size);
  slices.slice_mode = json.find_bool("slice_mode").value_or(slices.slice_mode);
}

void read_normalisation(const JsonObject& json, std::string_view key, float (&values)[3]) {
  const Json* array = json.find(key);
  if (array == nullptr) return;
  if (!array->is_array() || array->size() != 3) {
    fail(ErrorCode::kBadFile, "{}: \"{}\" must be an array of three numbers", json.source(), key);
  }
  for (int c = 0; c < 3; ++c) {
    if (!(*array)[c].is_number()) fail(ErrorCode::kBadFile, "{}: \"{}\" must hold numbers", json.source(), key);
    values[c] = (*array)[c].get<float>();
  }
}

void check_normalisation(const SliceConfig& slices, std::string_view source) {
  for (float value : slices.std) {
    if (!(value > 0) || !std::isfinite(value)) {
      fail(ErrorCode::kBadFile, "{}: the standard deviations of the pictures must be positive", source);
    }
  }
}

void read_hf_vision(const JsonObject& json, const std::filesystem::path& preprocessor_file, ModelConfig& config) {
  const auto vision_json = json.find_object("vision_config");
  if (!vision_json) fail(ErrorCode::kBadFile, "{}: \"vision_config\" is missing", json.source());
  VisionConfig vision;
  read_json_params(*vision_json, vision_params(), vision);
  // The configuration class says true where the file is silent; published files say false.
  vision.drop_last_layer = json.find_bool("drop_vision_last_layer").value_or(true);
  if (vision.drop_last_layer) --vision.num_layers;
  vision.finish(json.source());

  ResamplerConfig resampler;
  resampler.query_num = json.find_int("query_num").value_or(kDefaultQueries);
  resampler.embed_dim = config.decoder.hidden_size;
  resampler.vision_dim = vision.hidden_size;
  resampler.finish(json.source());

  // Without a slice_config the class sets one slice, with one its own default of 9 holds.
  const auto slice_json = json.find_object("slice_config");
  config.slices.max_slice_nums = slice_json ? 9 : 1;
  read_slice_config(json, config.slices);
  if (slice_json) read_slice_config(*slice_json, config.slices);
  config.use_image_id = json.find_bool("use_image_id").value_or(true);
  if (!preprocessor_file.empty()) {
    const Json text = parse_json(read_file(preprocessor_file, kMaxConfigBytes), preprocessor_file.string());
    const JsonObject processor(text, preprocessor_file.string());
    read_slice_config(processor, config.slices);
    read_normalisation(processor, "norm_mean", config.slices.mean);
    read_normalisation(processor, "norm_std", config.slices.std);
    config.use_image_id = processor.find_bool("use_image_id").value_or(config.use_image_id);
  }
  if (config.slices.patch_size != vision.patch_size) {
    fail(ErrorCode::kBadFile, "{}: the processor's patch size {} differs from the vision tower's {}", json.source(),
         config.slices.patch_size, vision.patch_size);
  }
  check_normalisation(config.slices, json.source());
  config.vision = vision;
  config.resampler = resampler;
}

void read_hf_audio(const JsonObject& json, ModelConfig& config) {
  const auto audio_json = json.find_object("audio_config");
  if (!audio_json || !json.find_bool("init_audio").value_or(true)) return;
  AudioConfig audio;
  read_json_params(*audio_json, audio_params(), audio);
  audio.pool_step = json.find_int("audio_pool_step").value_or(audio.pool_step);
  audio.chunk_seconds = static_cast<float>(json.find_number("audio_chunk_length").value_or(audio.chunk_seconds));
  audio.chunk_input = json.find_bool("chunk_input").value_or(audio.chunk_input);
  audio.output_size = config.decoder.hidden_size;
  audio.finish(json.source());
  config.audio = audio;
}

std::string known_versions() {
  std::string list;
  for (const VersionRow& row : versions())
    list += (list.empty() ? "" : ", ") + std::string(row.title);
  return list;
}

// ---- GGUF ----------------------------------------------------------------------------------------------------------

const StoredTensor& require_tensor(const GgufFile& file, std::string_view name, int rank) {
  const StoredTensor* tensor = file.find(name);
  if (tensor == nullptr) fail(ErrorCode::kBadFile, "{}: tensor {} is missing", file.path(), name);
  if (tensor->view.rank != rank) {
    fail(ErrorCode::kBadFile, "{}: tensor {} has shape {}, expected {} dims", file.path(), name,
         shape_string(tensor->view.shape()), rank);
  }
  return *tensor;
}

std::vector<float> gguf_factors(const GgufFile& file, std::string_view name) {
  const StoredTensor* tensor = file.find(name);
  if (tensor == nullptr) return {};
  const Weight& w = tensor->view;
  if (w.dtype != DType::kF32 || w.rank != 1) {
    fail(ErrorCode::kBadFile, "{}: tensor {} must be a vector of F32", file.path(), name);
  }
  const auto* values = static_cast<const float*>(w.data);
  return {values, values + w.cols()};
}

DecoderConfig read_gguf_decoder(const GgufFile& file, const std::string& arch) {
  DecoderConfig config;
  read_gguf_params(file, arch + ".", decoder_params(), config);
  config.vocab_size = require_tensor(file, "token_embd.weight", 2).view.dims[0];
  config.tied_embeddings = file.find("output.weight") == nullptr;
  // Converters permute q and k of these architectures for a rotation of neighbouring pairs.
  if (arch == "llama" || arch == "minicpm") config.rope_style = RopeStyle::kNeighbours;
  config.rope_factors = gguf_factors(file, "rope_freqs.weight");
  if (file.find("rope_factors_short.weight") != nullptr) {
    config.rope_factors = gguf_factors(file, "rope_factors_short.weight");
    config.rope_long_factors = gguf_factors(file, "rope_factors_long.weight");
    config.rope_switch_length =
        file.find_int(arch + ".rope.scaling.original_context_length").value_or(config.max_positions);
    config.rope_attention_factor =
        static_cast<float>(file.find_number(arch + ".rope.scaling.attn_factor").value_or(1.0));
  }
  if (arch == "minicpm") {
    // Older files have no such keys; these are the constants of the one model they held.
    const double layers = std::max<double>(1.0, static_cast<double>(config.num_layers));
    config.embedding_scale = static_cast<float>(file.find_number("minicpm.embedding_scale").value_or(12.0));
    config.residual_scale =
        static_cast<float>(file.find_number("minicpm.residual_scale").value_or(1.4 / std::sqrt(layers)));
    config.logit_divisor = static_cast<float>(
        file.find_number("minicpm.logit_scale").value_or(static_cast<double>(config.hidden_size) / 256.0));
    if (!(config.logit_divisor != 0.0f)) fail(ErrorCode::kBadFile, "{}: minicpm.logit_scale is zero", file.path());
  }
  config.finish(file.path());
  return config;
}

void read_gguf_vision(const GgufFile& file, ModelConfig& config) {
  VisionConfig vision;
  read_gguf_params(file, "clip.vision.", vision_params(), vision);
  const Weight& positions = require_tensor(file, "v.position_embd.weight", 2).view;
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(positions.dims[0]))));
  if (side < 1 || side * side != positions.dims[0] || vision.patch_size < 1 || vision.patch_size > 256) {
    fail(ErrorCode::kBadFile, "{}: tensor v.position_embd.weight has {} rows, which is no square grid", file.path(),
         positions.dims[0]);
  }
  vision.image_size = side * vision.patch_size;
  vision.finish(file.path());
  // Which of the two MLP matrices is called ffn_down depends on the converter's age; its input width tells.
  if (const StoredTensor* down = file.find("v.blk.0.ffn_down.weight"); down != nullptr && down->view.rank == 2) {
    config.legacy_ffn = down->view.dims[1] == vision.hidden_size;
  }

  ResamplerConfig resampler;
  const Weight& query = require_tensor(file, "resampler.query", 2).view;
  resampler.query_num = query.dims[0];
  resampler.embed_dim = query.dims[1];
  resampler.vision_dim = vision.hidden_size;
  resampler.finish(file.path());
  if (resampler.embed_dim != config.decoder.hidden_size) {
    fail(ErrorCode::kBadFile, "{}: the projector makes rows of width {}, the language model {} needs {}", file.path(),
         resampler.embed_dim, config.source, config.decoder.hidden_size);
  }
  const auto read_triple = [&](std::string_view key, float(&values)[3]) {
    const auto* numbers = file.find_numbers(key);
    if (numbers == nullptr) return;
    if (numbers->size() != 3)
      fail(ErrorCode::kBadFile, "{}: {} has {} numbers, expected 3", file.path(), key, numbers->size());
    for (int c = 0; c < 3; ++c)
      values[c] = static_cast<float>((*numbers)[c]);
  };
  read_triple("clip.vision.image_mean", config.slices.mean);
  read_triple("clip.vision.image_std", config.slices.std);
  check_normalisation(config.slices, file.path());
  config.slices.patch_size = static_cast<int>(vision.patch_size);
  const int64_t resolution = file.find_int("clip.vision.image_size").value_or(448);
  if (resolution < vision.patch_size || resolution > 1 << 16) {
    fail(ErrorCode::kBadFile, "{}: clip.vision.image_size is {}, expected {} to 65536", file.path(), resolution,
         vision.patch_size);
  }
  config.slices.scale_resolution = static_cast<int>(resolution);
  config.vision = vision;
  config.resampler = resampler;
}

/// Projector files of other programs hold the vision tower alone.
void read_gguf_audio(const GgufFile& file, ModelConfig& config) {
  if (file.find_value(fmt::format("{}block_count", kAudioKeys)) == nullptr) return;
  AudioConfig audio;
  read_gguf_params(file, kAudioKeys, audio_params(), audio);
  audio.finish(file.path());
  if (audio.output_size != config.decoder.hidden_size) {
    fail(ErrorCode::kBadFile, "{}: {}projection_dim is {}, but the language model's rows have {}", file.path(),
         kAudioKeys, audio.output_size, config.decoder.hidden_size);
  }
  config.audio = audio;
}

const VersionRow& projector_version(const GgufFile& mmproj, const std::string& arch) {
  const auto projector = mmproj.find_string("general.architecture").value_or("");
  if (projector != "clip" || !mmproj.find_bool("clip.has_vision_encoder").value_or(false)) {
    fail(ErrorCode::kBadFile, "{}: is not a vision projector (general.architecture is \"{}\", expected \"clip\")",
         mmproj.path(), projector);
  }
  const auto number = mmproj.find_int("clip.minicpmv_version");
  if (!number)
    fail(ErrorCode::kUnsupported, "{}: is not a MiniCPM-V projector (no clip.minicpmv_version)", mmproj.path());
  const VersionRow* row =
      *number >= 0 && *number < 1 << 20 ? version_of_projector(static_cast<int>(*number), arch) : nullptr;
  if (row == nullptr) {
    fail(ErrorCode::kUnsupported,
         "{}: a projector with clip.minicpmv_version {} does not go with a language model of architecture \"{}\"",
         mmproj.path(), *number, arch);
  }
  return *row;
}

}  // namespace

ModelConfig read_hf_config(const std::filesystem::path& config_file, const std::filesystem::path& preprocessor_file) {
  const Json text = parse_json(read_file(config_file, kMaxConfigBytes), config_file.string());
  const JsonObject json(text, config_file.string());
  ModelConfig config;
  config.source = config_file.string();
  const std::string model_type = json.find_string("model_type").value_or("");
  const std::string version = version_text(json);
  config.version = version_of_config(model_type, version);
  if (config.version == nullptr) {
    fail(ErrorCode::kUnsupported, "{}: model_type \"{}\", version \"{}\" is not supported; known are {}", config.source,
         model_type, version, known_versions());
  }
  read_json_params(json, decoder_params(), config.decoder);
  read_rope_scaling(json, config.decoder);
  read_mup(json, config.decoder);
  config.decoder.finish(config.source);
  if (config.version->vision) read_hf_vision(json, preprocessor_file, config);
  if (config.version->sound) read_hf_audio(json, config);
  return config;
}

SpeechConfig read_speech_config(const std::filesystem::path& config_file) {
  const Json text = parse_json(read_file(config_file, kMaxConfigBytes), config_file.string());
  const JsonObject json(text, config_file.string());
  const auto speech = json.find_object("tts_config");
  if (!speech) fail(ErrorCode::kBadFile, "{}: \"tts_config\" is missing", json.source());
  SpeechConfig config;
  read_json_params(*speech, speech_params(), config);
  config.finish(json.source());
  return config;
}

bool has_speech(const GgufFile& mmproj) {
  return mmproj.find_value(fmt::format("{}block_count", kSpeechKeys)) != nullptr;
}

SpeechConfig read_speech_config(const GgufFile& mmproj) {
  SpeechConfig config;
  read_gguf_params(mmproj, kSpeechKeys, speech_params(), config);
  config.finish(mmproj.path());
  return config;
}

ModelConfig read_gguf_config(const GgufFile& model, const GgufFile* mmproj) {
  ModelConfig config;
  config.gguf = true;
  config.source = model.path();
  const std::string arch = model.find_string("general.architecture").value_or("");
  if (arch == "clip") {
    fail(ErrorCode::kBadFile, "{}: is a projector; name the language model's file and give this one with --mmproj",
         model.path());
  }
  config.version = mmproj != nullptr ? &projector_version(*mmproj, arch) : version_of_language_model(arch);
  if (config.version == nullptr) {
    fail(ErrorCode::kUnsupported, "{}: architecture \"{}\" is not supported; known are {}", model.path(), arch,
         known_versions());
  }
  config.decoder = read_gguf_decoder(model, arch);
  if (mmproj == nullptr) return config;
  read_gguf_vision(*mmproj, config);
  if (config.version->sound) read_gguf_audio(*mmproj, config);
  return config;
}

namespace {

template <typename Config, typename Weights>
void append_specs(std::vector<PartSpec>& specs, std::span<const TensorRow<Config, Weights>> rows, const Config& config,
                  const std::string& hf_prefix, const std::string& gguf_prefix, ModelPart part) {
  for (const auto& row : rows)
    specs.push_back({make_spec(row, config, hf_prefix, gguf_prefix), part});
}

}  // namespace

std::vector<PartSpec> tensor_specs(const ModelConfig& config) {
  std::vector<PartSpec> specs;
  const std::string llm(config.version->llm_prefix);
  append_specs(specs, decoder_tensors(), config.decoder, llm, "", ModelPart::kLanguage);
  for (int64_t i = 0; i < config.decoder.num_layers; ++i) {
    append_specs(specs, decoder_layer_tensors(), config.decoder, fmt::format("{}model.layers.{}.", llm, i),
                 fmt::format("blk.{}.", i), ModelPart::kLanguage);
  }
  if (config.has_audio()) {
    const std::string audio(kAudioPrefix), projector(kAudioProjectorPrefix), gguf(kAudioPrefixGguf);
    append_specs(specs, audio_tensors(), *config.audio, audio, gguf, ModelPart::kProjector);
    for (int64_t i = 0; i < config.audio->num_layers; ++i) {
      append_specs(specs, audio_layer_tensors(), *config.audio, fmt::format("{}layers.{}.", audio, i),
                   fmt::format("{}blk.{}.", gguf, i), ModelPart::kProjector);
    }
    append_specs(specs, audio_projector_tensors(), *config.audio, projector, std::string(kAudioProjectorPrefixGguf),
                 ModelPart::kProjector);
  }
  if (!config.has_vision()) return specs;
  const std::string hf(kVisionPrefixHf), gguf(kVisionPrefixGguf), resampler(kResamplerPrefix);
  append_specs(specs, vision_tensors(), *config.vision, hf, gguf, ModelPart::kProjector);
  for (int64_t i = 0; i < config.vision->num_layers; ++i) {
    append_specs(specs, vision_layer_tensors(), *config.vision, fmt::format("{}encoder.layers.{}.", hf, i),
                 fmt::format("{}blk.{}.", gguf, i), ModelPart::kProjector);
  }
  append_specs(specs, resampler_tensors(), *config.resampler, resampler, resampler, ModelPart::kProjector);
  if (config.gguf && !config.legacy_ffn) {
    for (PartSpec& part : specs) {
      if (part.spec.gguf.starts_with(kVisionPrefixGguf)) part.spec.gguf = exchanged_ffn(part.spec.gguf);
    }
  }
  return specs;
}

// ---- writing -------------------------------------------------------------------------------------------------------

namespace {

template <typename Config>
void write_json_params(Json& json, std::span<const ParamRow<Config>> rows, const Config& config) {
  for (const ParamRow<Config>& row : rows) {
    if (row.hf.empty()) continue;
    const std::string key(row.hf);
    if (row.integer != nullptr) json[key] = config.*row.integer;
    // Through text, so that 1e-6f is written as 1e-06 and not with the digits of its double.
    if (row.real != nullptr) json[key] = std::stod(fmt::format("{}", config.*row.real));
    if (row.flag != nullptr) json[key] = config.*row.flag;
  }
}

template <typename Config>
void write_gguf_params(GgufWriter& writer, const std::string& prefix, std::span<const ParamRow<Config>> rows,
                       const Config& config) {
  for (const ParamRow<Config>& row : rows) {
    if (row.gguf.empty()) continue;
    const std::string key = prefix + std::string(row.gguf);
    if (row.integer != nullptr) writer.set_u32(key, static_cast<uint32_t>(config.*row.integer));
    if (row.real != nullptr) writer.set_f32(key, config.*row.real);
    if (row.flag != nullptr) writer.set_bool(key, config.*row.flag);
  }
}

}  // namespace

namespace {

std::string architecture_name(const VersionRow& version) {
  if (version.vision) return "MiniCPMV";
  if (version.gguf_arch == "minicpm") return "MiniCPMForCausalLM";
  std::string name(version.gguf_arch);  // qwen3 -> Qwen3ForCausalLM
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return name + "ForCausalLM";
}

}  // namespace

Json write_hf_config(const ModelConfig& config) {
  Json json;
  const VersionRow& version = *config.version;
  json["architectures"] = Json::array({architecture_name(version)});
  json["model_type"] = version.model_type;
  if (!version.hf_version.empty()) json["version"] = std::stod(std::string(version.hf_version));
  json["hidden_act"] = "silu";
  write_json_params(json, decoder_params(), config.decoder);
  json["rope_scaling"] = nullptr;
  if (!config.has_vision()) return json;
  json["batch_vision_input"] = true;
  json["drop_vision_last_layer"] = config.vision->drop_last_layer;
  json["image_size"] = config.slices.scale_resolution;
  json["patch_size"] = config.slices.patch_size;
  json["query_num"] = config.resampler->query_num;
  json["slice_mode"] = config.slices.slice_mode;
  json["use_image_id"] = config.use_image_id;
  json["vision_batch_size"] = 16;
  if (version.temporal) json["batch_3d_resampler"] = true;
  json["slice_config"] = {{"max_slice_nums", config.slices.max_slice_nums},
                          {"patch_size", config.slices.patch_size},
                          {"scale_resolution", config.slices.scale_resolution},
                          {"model_type", "minicpmv"}};
  Json vision;
  VisionConfig stored = *config.vision;
  if (stored.drop_last_layer) ++stored.num_layers;
  write_json_params(vision, vision_params(), stored);
  vision["model_type"] = "siglip_vision_model";
  json["vision_config"] = vision;
  if (config.has_audio()) {
    Json audio;
    write_json_params(audio, audio_params(), *config.audio);
    audio["model_type"] = "whisper";
    json["audio_config"] = audio;
    json["chunk_input"] = config.audio->chunk_input;
    json["audio_pool_step"] = config.audio->pool_step;
    json["audio_chunk_length"] = config.audio->chunk_seconds;
  }
  return json;
}

Json write_preprocessor_config(const ModelConfig& config) {
  const SliceConfig& s = config.slices;
  return {{"image_processor_type", "MiniCPMVImageProcessor"},
          {"max_slice_nums", s.max_slice_nums},
          {"scale_resolution", s.scale_resolution},
          {"patch_size", s.patch_size},
          {"use_image_id", config.use_image_id},
          {"image_feature_size", config.resampler ? config.resampler->query_num : kDefaultQueries},
          {"im_start", "<image>"},
          {"im_end", "</image>"},
          {"slice_start", "<slice>"},
          {"slice_end", "</slice>"},
          {"unk", "<unk>"},
          {"im_id_start", "<image_id>"},
          {"im_id_end", "</image_id>"},
          {"slice_mode", s.slice_mode},
          {"norm_mean", {s.mean[0], s.mean[1], s.mean[2]}},
          {"norm_std", {s.std[0], s.std[1], s.std[2]}},
          {"version", 2.6}};  // as published: the processor asks only whether it is above 2.5
}

void write_gguf_config(const ModelConfig& config, GgufWriter& model, GgufWriter* mmproj) {
  const std::string arch(config.version->gguf_arch);
  model.set_string("general.architecture", arch);
  model.set_string("general.name", std::string(config.version->title));
  write_gguf_params(model, arch + ".", decoder_params(), config.decoder);
  model.set_u32(arch + ".attention.value_length", static_cast<uint32_t>(config.decoder.head_dim));
  if (mmproj == nullptr || !config.has_vision()) return;
  mmproj->set_string("general.architecture", "clip");
  mmproj->set_string("general.name", std::string(config.version->title));
  mmproj->set_string("general.description", "image encoder for MiniCPM-V");
  mmproj->set_bool("clip.has_text_encoder", false);
  mmproj->set_bool("clip.has_vision_encoder", true);
  mmproj->set_bool("clip.has_minicpmv_projector", true);
  mmproj->set_string("clip.projector_type", "resampler");
  mmproj->set_i32("clip.minicpmv_version", config.version->minicpmv_version);
  mmproj->set_u32("clip.minicpmv_query_num", static_cast<uint32_t>(config.resampler->query_num));
  write_gguf_params(*mmproj, "clip.vision.", vision_params(), *config.vision);
  mmproj->set_u32("clip.vision.image_size", static_cast<uint32_t>(config.slices.scale_resolution));
  mmproj->set_u32("clip.vision.projection_dim", 0);
  mmproj->set_bool("clip.use_gelu", true);
  const auto triple = [](const float(&v)[3]) {
    return GgufValue{std::vector<double>{v[0], v[1], v[2]}, "array of f32"};
  };
  mmproj->set("clip.vision.image_mean", triple(config.slices.mean));
  mmproj->set("clip.vision.image_std", triple(config.slices.std));
  // clip.has_audio_encoder stays away: programs that know no sound encoder of this kind still read the pictures' half.
  if (config.has_audio()) write_gguf_params(*mmproj, kAudioKeys, audio_params(), *config.audio);
}

void write_gguf_speech_config(const SpeechConfig& config, GgufWriter& mmproj) {
  write_gguf_params(mmproj, kSpeechKeys, speech_params(), config);
}

}  // namespace minicpm
