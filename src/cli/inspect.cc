#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/file_map.h"
#include "cli/terminal.h"
#include "cli/tokenizer_of.h"
#include "cli/verbs.h"
#include "io/gguf.h"
#include "io/model_files.h"
#include "io/safetensors.h"
#include "models/model_config.h"

namespace minicpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kConfigLimitBytes = 16u << 20;
constexpr size_t kShownBytes = 60;

/// What was found, independent of the file format.
struct Report {
  std::string format;
  std::string model;                                   // "MiniCPM-V 4.5", or why it is not recognised
  std::vector<std::pair<std::string, Json>> metadata;  // in file order
  std::string tokenizer;                               // description, or why there is none
  std::vector<StoredTensor> tensors;
  std::vector<std::string> missing;                    // tensors that the recognised model needs
  std::vector<std::unique_ptr<WeightSource>> sources;  // keep the tensors' names and sizes valid
};

/// Scalars of nested objects as "vision_config.hidden_size".
void flatten(const Json& json, const std::string& prefix, std::vector<std::pair<std::string, Json>>& out) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_object()) {
      flatten(value, prefix + key + ".", out);
    } else {
      out.emplace_back(prefix + key, value);
    }
  }
}

Json gguf_json(const GgufValue& value) {
  // An f32 is shown as the shortest decimal that names it: 1e-06, not 9.999999974752427e-07.
  if (value.type_name == "f32") {
    return std::stod(fmt::format("{}", static_cast<float>(std::get<double>(value.value))));
  }
  return std::visit([](const auto& v) { return Json(v); }, value.value);
}

void add_tensors(Report& report, std::unique_ptr<WeightSource> source) {
  report.tensors.insert(report.tensors.end(), source->tensors().begin(), source->tensors().end());
  report.sources.push_back(std::move(source));
}

void add_tokenizer(Report& report, const std::string& model) {
  try {
    const auto tokenizer = open_tokenizer(model);
    report.tokenizer = fmt::format("{}, {} tokens", tokenizer->description(), tokenizer->vocab_size());
  } catch (const Error& e) {
    report.tokenizer = std::string("none: ") + e.what();
  }
}

/// Names the model and what it lacks; a file of another family is shown all the same.
template <typename ReadConfig>
void recognise(Report& report, bool gguf, ReadConfig&& read_config) {
  try {
    const ModelConfig config = read_config();
    report.model = config.version->title;
    std::set<std::string_view> present;
    for (const StoredTensor& tensor : report.tensors)
      present.insert(tensor.name);
    for (const PartSpec& part : tensor_specs(config)) {
      const std::string& name = gguf ? part.spec.gguf : part.spec.hf;
      if (part.spec.presence == Presence::kRequired && !present.contains(name)) report.missing.push_back(name);
    }
  } catch (const Error& e) {
    report.model = std::string("not recognised: ") + e.what();
  }
}

Report inspect_folder(const std::string& folder) {
  const ModelFiles files = find_model_files(folder, "");
  Report report;
  report.format = "Hugging Face folder, safetensors";
  const std::string config_file = (files.folder / "config.json").string();
  flatten(parse_json(read_file(config_file, kConfigLimitBytes), config_file), "", report.metadata);
  add_tensors(report, open_safetensors_folder(files.folder));
  add_tokenizer(report, folder);
  recognise(report, false, [&] {
    const fs::path preprocessor = files.folder / "preprocessor_config.json";
    return read_hf_config(config_file, fs::exists(preprocessor) ? preprocessor : fs::path());
  });
  return report;
}

Report inspect_gguf(const std::string& file, const std::string& mmproj) {
  auto model = GgufFile::open(file);
  Report report;
  report.format = fmt::format("GGUF version {}", model->version());
  for (const auto& [key, value] : model->metadata())
    report.metadata.emplace_back(key, gguf_json(value));
  const bool projector_only = model->find_string("general.architecture") == "clip";
  if (projector_only) {
    report.model = "projector (vision tower and resampler";
    if (model->find_value("clip.audio.block_count") != nullptr) report.model += ", sound encoder";
    if (has_speech(*model)) report.model += ", speech decoder and vocoder";
    report.model += ") of a GGUF pair";
    report.tokenizer = "none: a projector has no tokenizer";
    add_tensors(report, std::move(model));
    return report;
  }
  add_tokenizer(report, file);
  const ModelFiles files = find_model_files(file, mmproj);
  std::unique_ptr<GgufFile> projector;
  if (!files.mmproj.empty()) {
    projector = GgufFile::open(files.mmproj);
    report.format += fmt::format(", with projector {}", files.mmproj.filename().string());
    for (const auto& [key, value] : projector->metadata()) {
      if (key.starts_with("clip.")) report.metadata.emplace_back(key, gguf_json(value));
    }
  }
  const GgufFile* model_view = model.get();
  const GgufFile* projector_view = projector.get();
  add_tensors(report, std::move(model));
  if (projector != nullptr) add_tensors(report, std::move(projector));
  recognise(report, true, [&] { return read_gguf_config(*model_view, projector_view); });
  return report;
}

Report inspect_file(const std::string& file, const std::string& mmproj) {
  if (fs::path(file).extension() != ".safetensors") return inspect_gguf(file, mmproj);
  Report report;
  report.format = "safetensors";
  report.model = "not recognised: a file without config.json";
  report.tokenizer = "none: a safetensors file has no tokenizer";
  add_tensors(report, open_safetensors(file));
  return report;
}

struct Total {
  int64_t tensors = 0, bytes = 0;
};

std::map<std::string, Total> totals(const Report& report) {
  std::map<std::string, Total> result;
  for (const StoredTensor& tensor : report.tensors) {
    Total& total = result[std::string(name(tensor.view.dtype))];
    ++total.tensors;
    total.bytes += tensor.view.bytes();
  }
  return result;
}

Json report_json(const Report& report, const std::string& path) {
  Json metadata = Json::object(), types = Json::object(), tensors = Json::array();
  for (const auto& [key, value] : report.metadata)
    metadata[key] = value;
  int64_t bytes = 0;
  for (const auto& [type, total] : totals(report)) {
    types[type] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
    bytes += total.bytes;
  }
  for (const StoredTensor& tensor : report.tensors) {
    const auto shape = tensor.view.shape();
    tensors.push_back({{"name", tensor.name},
                       {"dtype", name(tensor.view.dtype)},
                       {"shape", std::vector<int64_t>(shape.begin(), shape.end())},
                       {"bytes", tensor.view.bytes()}});
  }
  return {{"path", path},         {"format", report.format},   {"model", report.model}, {"tokenizer", report.tokenizer},
          {"metadata", metadata}, {"missing", report.missing}, {"types", types},        {"bytes", bytes},
          {"tensors", tensors}};
}

/// One value in one short line; long lists by their length.
std::string value_text(const Json& value) {
  if (value.is_array() && value.size() > 8) return fmt::format("[{} values]", value.size());
  std::string text =
      value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  text = one_line(text);
  if (text.size() <= kShownBytes) return text;
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u)
    --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

void print_report(const Report& report, const std::string& path, bool list_tensors) {
  const auto line = [](std::string_view key, std::string_view value) {
    print(fmt::format("{:<12}{}\n", key, one_line(value)));
  };
  line("path", path);
  line("format", report.format);
  line("model", report.model);
  line("tokenizer", report.tokenizer);
  if (!report.missing.empty()) {
    line("missing", fmt::format("{} tensors, the first is {}", report.missing.size(), report.missing.front()));
  }
  print("metadata\n");
  for (const auto& [key, value] : report.metadata)
    print(fmt::format("  {:<40}{}\n", one_line(key), value_text(value)));
  int64_t bytes = 0;
  for (const StoredTensor& tensor : report.tensors)
    bytes += tensor.view.bytes();
  line("tensors", fmt::format("{}, {}", report.tensors.size(), bytes_text(bytes)));
  for (const auto& [type, total] : totals(report)) {
    print(fmt::format("  {:<8}{:>6} tensors{:>12}\n", type, total.tensors, bytes_text(total.bytes)));
  }
  if (!list_tensors) return;
  for (const StoredTensor& tensor : report.tensors) {
    print(fmt::format("  {:<56}{:<8}{:<24}{:>12}\n", one_line(tensor.name), name(tensor.view.dtype),
                      shape_string(tensor.view.shape()), bytes_text(tensor.view.bytes())));
  }
}

}  // namespace

int run_inspect(const Options& options) {
  std::error_code error;
  const std::string model = model_path(options.model).string();
  const bool folder = fs::is_directory(model, error);
  if (!folder && !fs::exists(model, error)) find_model_files(model, "");  // says what a MODEL is
  const Report report = folder ? inspect_folder(model) : inspect_file(model, options.mmproj);
  if (options.json) {
    print_json(report_json(report, model));
  } else {
    print_report(report, model, options.tensors);
  }
  return kExitOk;
}

}  // namespace minicpm::cli
