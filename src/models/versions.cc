#include "models/versions.h"

namespace minicpm {
namespace {

// Sampling defaults are those of each version's chat(); thinking turns top-k, top-p and the penalty off, and the
// library's own top-k of 50 applies.
constexpr SamplingDefaults kV45Sampling{0.7f, 100, 0.8f, 1.03f};
constexpr SamplingDefaults kV45Thinking{0.7f, 50, 1.0f, 1.0f};
constexpr SamplingDefaults kV26Sampling{0.7f, 100, 0.8f, 1.05f};
constexpr SamplingDefaults kQwen3Sampling{0.7f, 20, 0.8f, 1.0f};
constexpr SamplingDefaults kQwen3Thinking{0.6f, 20, 0.95f, 1.0f};
constexpr SamplingDefaults kPlain{0.8f, 50, 0.8f, 1.0f};

constexpr ChatFamily kQwen3 = ChatFamily::kQwen3;
constexpr ChatFamily kQwen2 = ChatFamily::kQwen2;
constexpr PlaceholderLayout kNew = PlaceholderLayout::kNew;

// clang-format off
constexpr VersionRow kVersions[] = {
    // key       title                      model_type  version GGUF arch  mmproj prefix  chat                   vision layout temporal thinking new   input  sampling         thinking         beam  stop tokens                  other parts
    {"v45",     "MiniCPM-V 4.5",           "minicpmv", "4.5",  "qwen3",   6,     "llm.", kQwen3,                true,  kNew, true,    true,    2048, 16384, kV45Sampling,    kV45Thinking,    1.2f, "<|im_end|> <|endoftext|>"},
    {"v40",     "MiniCPM-V 4.0",           "minicpmv", "4.0",  "llama",   5,     "llm.", ChatFamily::kMiniCpm4, true,  kNew, false,   false,   2048, 8192,  kV26Sampling,    kV26Sampling,    1.2f, "<|im_end|> </s>"},
    {"v26",     "MiniCPM-V 2.6",           "minicpmv", "2.6",  "qwen2",   3,     "llm.", kQwen2,                true,  kNew, false,   false,   2048, 8192,  kV26Sampling,    kV26Sampling,    1.2f, "<|im_end|> <|endoftext|>"},
    {"o26",     "MiniCPM-o 2.6",           "minicpmo", "2.6",  "qwen2",   4,     "llm.", kQwen2,                true,  kNew, false,   false,   2048, 8192,  kV26Sampling,    kV26Sampling,    1.2f, "<|im_end|> <|endoftext|>", "apm. audio_projection_layer. audio_avg_pooler. tts. vocos.", true},
    // Language models alone: the text half of a GGUF pair, or a plain Hugging Face folder.
    {"qwen3",   "Qwen3 (text only)",       "qwen3",    "",     "qwen3",   0,     "",     kQwen3,                false, kNew, false,   true,    2048, 32768, kQwen3Sampling,  kQwen3Thinking,  1.0f, "<|im_end|> <|endoftext|>"},
    {"qwen2",   "Qwen2 (text only)",       "qwen2",    "",     "qwen2",   0,     "",     kQwen2,                false, kNew, false,   false,   2048, 32768, kQwen3Sampling,  kQwen3Sampling,  1.0f, "<|im_end|> <|endoftext|>"},
    {"llama",   "Llama (text only)",       "llama",    "",     "llama",   0,     "",     ChatFamily::kLlama3,   false, kNew, false,   false,   2048, 8192,  kPlain,          kPlain,          1.0f, "<|eot_id|> <|end_of_text|> </s>"},
    {"minicpm", "MiniCPM (text only)",     "minicpm",  "",     "minicpm", 0,     "",     ChatFamily::kMiniCpm2, false, kNew, false,   false,   2048, 4096,  kPlain,          kPlain,          1.0f, "</s>"},
};
// clang-format on

template <typename Predicate>
const VersionRow* find_row(Predicate predicate) {
  for (const VersionRow& row : kVersions) {
    if (predicate(row)) return &row;
  }
  return nullptr;
}

}  // namespace

std::span<const VersionRow> versions() {
  return kVersions;
}

const VersionRow* version_of_config(std::string_view model_type, std::string_view hf_version) {
  return find_row([&](const VersionRow& row) {
    return row.model_type == model_type && (row.hf_version.empty() || row.hf_version == hf_version);
  });
}

const VersionRow* version_of_projector(int minicpmv_version, std::string_view gguf_arch) {
  return find_row([&](const VersionRow& row) {
    return row.vision && row.minicpmv_version == minicpmv_version && row.gguf_arch == gguf_arch;
  });
}

const VersionRow* version_of_language_model(std::string_view gguf_arch) {
  return find_row([&](const VersionRow& row) { return !row.vision && row.gguf_arch == gguf_arch; });
}

const VersionRow* version_by_key(std::string_view key) {
  return find_row([&](const VersionRow& row) { return row.key == key; });
}

}  // namespace minicpm
