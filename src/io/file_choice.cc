#include "io/file_choice.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <tuple>

namespace minicpm {
namespace {

std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);  // 0 without a slash
}

bool names_f16(const std::string& name) {
  for (size_t at = name.find("f16"); at != std::string::npos; at = name.find("f16", at + 1)) {
    if (at == 0 || name[at - 1] != 'b') return true;
  }
  return false;
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// The path without ".gguf" and without "-00001-of-00003", the number of a part.
std::string bare_path(std::string stem) {
  constexpr size_t kDigits = 5;
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kPartLength = 1 + 2 * kDigits + kOf.size();
  if (lower_case(stem).ends_with(".gguf")) stem.resize(stem.size() - 5);
  if (stem.size() <= kPartLength) return stem;
  const std::string_view part = std::string_view(stem).substr(stem.size() - kPartLength);
  const bool split = part[0] == '-' && all_digits(part.substr(1, kDigits)) &&
                     lower_case(std::string(part.substr(1 + kDigits, kOf.size()))) == kOf &&
                     all_digits(part.substr(1 + kDigits + kOf.size()));
  if (split) stem.resize(stem.size() - kPartLength);
  return stem;
}

std::string model_stem(const std::string& path) {
  return bare_path(lower_case(path));
}

}  // namespace

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_projector_name(const std::string& path) {
  const std::string name = lower_case(file_name(path));
  return name.starts_with("mmproj") && name.ends_with(".gguf");
}

bool is_gguf_model_name(const std::string& path) {
  return lower_case(path).ends_with(".gguf") && !is_projector_name(path);
}

bool ends_in_format(const std::string& path, const std::string& format) {
  const std::string stem = model_stem(file_name(path)), wanted = lower_case(format);
  if (wanted.empty() || !stem.ends_with(wanted)) return false;
  return stem.size() == wanted.size() ||
         std::string_view("-_.").find(stem[stem.size() - wanted.size() - 1]) != std::string_view::npos;
}

std::string format_of(const std::string& path) {
  const std::string stem = bare_path(file_name(path));
  return stem.substr(stem.find_last_of("-.") + 1);  // 0 without one
}

std::vector<std::string> choose_gguf(std::span<const std::string> paths, const std::string& format) {
  std::vector<std::string> models;
  std::ranges::copy_if(paths, std::back_inserter(models), is_gguf_model_name);
  std::ranges::sort(models);
  const auto parts_of = [&](const std::string& stem) {
    std::vector<std::string> parts;
    std::ranges::copy_if(models, std::back_inserter(parts), [&](const auto& path) { return model_stem(path) == stem; });
    return parts;
  };
  for (const std::string& wanted : format.empty() ? std::vector<std::string>{"Q4_K_M", "Q8_0"} : std::vector{format}) {
    const auto found = std::ranges::find_if(models, [&](const auto& path) { return ends_in_format(path, wanted); });
    if (found != models.end()) return parts_of(model_stem(*found));
  }
  std::set<std::string> stems;
  for (const std::string& path : models)
    stems.insert(model_stem(path));
  return format.empty() && stems.size() == 1 ? models : std::vector<std::string>{};
}

std::optional<std::string> choose_projector(std::span<const std::string> paths, const std::string& model) {
  const std::string partner = lower_case("mmproj-" + file_name(model));
  const auto rank = [&partner](const std::string& path) {
    const std::string name = lower_case(file_name(path));
    return std::tuple(name != partner, !names_f16(name), path);
  };
  std::optional<std::string> best;
  for (const std::string& path : paths) {
    if (!is_projector_name(path) || path == model) continue;
    if (!best || rank(path) < rank(*best)) best = path;
  }
  return best;
}

}  // namespace minicpm
