// Which files a MODEL argument stands for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace minicpm {

struct ModelFiles {
  enum class Kind { kHuggingFace, kGguf };
  Kind kind = Kind::kHuggingFace;
  std::filesystem::path folder;  // kHuggingFace: holds config.json
  std::filesystem::path gguf;    // kGguf: the language model (first part of a split one)
  std::filesystem::path mmproj;  // kGguf: the projector; empty if there is none
};

/// The path that a MODEL argument means: itself where it exists or is no name. A name (no slash) is looked up as
/// `NAME` in the folders of model_folders(), and means the folder in the Hugging Face layout, or the GGUF file if the
/// folder holds only one model of that kind. `NAME:FORMAT` means the GGUF file of that folder whose name ends in the
/// format, upper or lower case: "pico:q8_0". ORG/NAME[@REVISION][:FORMAT] is looked up in the hub's cache, see
/// io/hub_cache.h. Throws Error not_found when the name is there but not what it asks for.
std::filesystem::path model_path(const std::string& model);

/// Where names are looked up, in this order: $MINICPM_MODELS; share/minicpm/models of the installation; models/ of the
/// source tree, when the program runs from a build folder in it.
std::vector<std::filesystem::path> model_folders();

/// `model`: a folder in the Hugging Face layout, a GGUF file, or a name as in model_path(). `mmproj`: the projector
/// file the user named, or empty; then mmproj*.gguf beside the model is taken (upper or lower case; of several, the one
/// called mmproj-<name of the model's file> goes first, then F16 before other formats, then the first by name). Throws
/// Error not_found (no such path, no config.json), unsupported (another kind of file), invalid_request (a projector for
/// a folder).
ModelFiles find_model_files(const std::string& model, const std::string& mmproj);

}  // namespace minicpm
