// One row per released version: which parts it is made of and how it talks. A version that recombines known parts is
// one more row and one reference case.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "models/vision_prompt.h"
#include "text/chat_template.h"

namespace minicpm {

/// Defaults of the version's published chat().
struct SamplingDefaults {
  float temperature = 1.0f;
  int top_k = 0;
  float top_p = 1.0f;
  float repetition_penalty = 1.0f;
};

struct VersionRow {
  std::string_view key;         // "v45": short name, for tools and messages
  std::string_view title;       // "MiniCPM-V 4.5"
  std::string_view model_type;  // of config.json
  std::string_view hf_version;  // "version" of config.json; empty: any
  std::string_view gguf_arch;   // general.architecture of the language model's GGUF file
  int minicpmv_version;         // clip.minicpmv_version of the projector file; 0: none
  std::string_view llm_prefix;  // of the language model's tensors in safetensors
  ChatFamily chat;
  bool vision;               // has a tower and a resampler
  PlaceholderLayout layout;  // of pictures in the prompt
  bool temporal;             // frames are packed by the 3-D resampler
  bool thinking;             // hybrid thinking
  int max_new_tokens;
  int max_input_tokens;
  SamplingDefaults sampling;
  SamplingDefaults thinking_sampling;
  float beam_repetition_penalty;      // with sampling off: 3 beams
  std::string_view stop_tokens;       // texts, separated by blanks
  std::string_view other_parts = {};  // prefixes of tensors of parts that may be there and not be run, likewise
  bool sound = false;                 // may hold a sound encoder and a speech decoder
};

inline constexpr std::string_view kVisionPrefixHf = "vpm.";
inline constexpr std::string_view kVisionPrefixGguf = "v.";
inline constexpr std::string_view kResamplerPrefix = "resampler.";
inline constexpr std::string_view kAudioPrefix = "apm.";
inline constexpr std::string_view kAudioPrefixGguf = "a.";
inline constexpr std::string_view kAudioProjectorPrefix = "audio_projection_layer.";
inline constexpr std::string_view kAudioProjectorPrefixGguf = "mm.a.";
inline constexpr std::string_view kSpeechPrefix = "tts.";         // in both kinds of files
inline constexpr std::string_view kVocoderPrefixGguf = "vocos.";  // Hugging Face folders have a file of its own

std::span<const VersionRow> versions();

/// The row of a config.json, of a projector file together with the language model's architecture, or of a language
/// model alone; null if there is none.
const VersionRow* version_of_config(std::string_view model_type, std::string_view hf_version);
const VersionRow* version_of_projector(int minicpmv_version, std::string_view gguf_arch);
const VersionRow* version_of_language_model(std::string_view gguf_arch);
const VersionRow* version_by_key(std::string_view key);

}  // namespace minicpm
