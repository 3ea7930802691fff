// Everything about a model that its configuration files say, read through the tables.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/gguf.h"
#include "io/model_files.h"
#include "media/slicing.h"
#include "models/decoder.h"
#include "models/resampler.h"
#include "models/siglip.h"
#include "models/speech_decoder.h"
#include "models/versions.h"
#include "models/whisper.h"

namespace minicpm {

struct ModelConfig {
  const VersionRow* version = nullptr;
  DecoderConfig decoder;
  std::optional<VisionConfig> vision;  // both or neither
  std::optional<ResamplerConfig> resampler;
  std::optional<AudioConfig> audio;
  SliceConfig slices;
  bool use_image_id = true;
  bool gguf = false;       // which names the tensors have
  bool legacy_ffn = true;  // GGUF towers: the first matrix of the MLP is called ffn_down
  std::string source;      // for messages

  bool has_vision() const { return vision.has_value(); }
  bool has_audio() const { return audio.has_value(); }
};

/// From config.json and, if not empty, preprocessor_config.json. Throws Error bad_file, unsupported.
ModelConfig read_hf_config(const std::filesystem::path& config_file, const std::filesystem::path& preprocessor_file);

/// The speech decoder's part of a config.json ("tts_config"), or of a projector's GGUF. Throws Error bad_file.
SpeechConfig read_speech_config(const std::filesystem::path& config_file);
SpeechConfig read_speech_config(const GgufFile& mmproj);
/// Whether a projector's GGUF holds a speech decoder.
bool has_speech(const GgufFile& mmproj);
/// Metadata key of its tokenizer, the text of a tokenizer.json.
inline constexpr char kSpeechTokenizerKey[] = "minicpmtts.tokenizer.huggingface.json";

/// From a language model's GGUF and, if not null, its projector file.
ModelConfig read_gguf_config(const GgufFile& model, const GgufFile* mmproj);

/// All tensors the model must or may have, in the order of the tables. `part` tells the language model's file from the
/// projector's in a GGUF pair.
enum class ModelPart { kLanguage, kProjector };
struct PartSpec {
  TensorSpec spec;
  ModelPart part;
};
std::vector<PartSpec> tensor_specs(const ModelConfig& config);

/// The reverse of reading: config.json and preprocessor_config.json, and the metadata of a GGUF pair (without the
/// vocabulary). For checkpoint writers.
Json write_hf_config(const ModelConfig& config);
Json write_preprocessor_config(const ModelConfig& config);
void write_gguf_config(const ModelConfig& config, GgufWriter& model, GgufWriter* mmproj);
void write_gguf_speech_config(const SpeechConfig& config, GgufWriter& mmproj);

}  // namespace minicpm
