// Which files of a folder or repository make up a GGUF model, judged by their names.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace minicpm {

std::string lower_case(std::string text);

/// "mmproj*.gguf", upper or lower case, in any folder.
bool is_projector_name(const std::string& path);
/// Any other "*.gguf".
bool is_gguf_model_name(const std::string& path);

/// Whether the name without ".gguf" and part number ends in the format: "pico-Q8_0.gguf" and "q8_0".
bool ends_in_format(const std::string& path, const std::string& format);

/// The format that a file's name says: what stands behind its last '-' or '.', part number and ".gguf" left out, or the
/// whole name. ends_in_format() is true for it.
std::string format_of(const std::string& path);

/// The files of one language model among `paths`, all parts of a split one, the first part first. `format` as in
/// "Q4_K_M", or empty: Q4_K_M, else Q8_0, else the only model there is. Empty when there is none, or no way to choose.
std::vector<std::string> choose_gguf(std::span<const std::string> paths, const std::string& format);

/// The projector that belongs to the model file: the one called mmproj-<its name> goes first, then F16 before other
/// formats, then the first by name.
std::optional<std::string> choose_projector(std::span<const std::string> paths, const std::string& model);

}  // namespace minicpm
