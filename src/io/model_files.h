// Which files a MODEL argument stands for.
#pragma once

#include <filesystem>
#include <string>

namespace minicpm {

struct ModelFiles {
  enum class Kind { kHuggingFace, kGguf };
  Kind kind = Kind::kHuggingFace;
  std::filesystem::path folder;  // kHuggingFace: holds config.json
  std::filesystem::path gguf;    // kGguf: the language model (first part of a split one)
  std::filesystem::path mmproj;  // kGguf: the projector; empty if there is none
};

/// `model`: a folder in the Hugging Face layout or a GGUF file. `mmproj`: the projector file the user named, or empty;
/// then mmproj*.gguf beside the model is taken (upper or lower case; of several, F16 goes before other formats, then
/// the first by name). Throws Error not_found (no such path, no config.json), unsupported (another kind of file),
/// invalid_request (a projector for a folder).
ModelFiles find_model_files(const std::string& model, const std::string& mmproj);

}  // namespace minicpm
