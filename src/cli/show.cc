// `show`: what a model is, from names and headers.
#include <filesystem>
#include <map>

#include "base/error.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "io/gguf.h"
#include "io/hub_cache.h"
#include "io/model_files.h"
#include "io/safetensors.h"
#include "models/description.h"

namespace minicpm::cli {
namespace {

namespace fs = std::filesystem;

/// Bytes of tensors by their number format.
std::map<std::string, int64_t> bytes_by_type(const ModelFiles& files) {
  std::map<std::string, int64_t> result;
  const auto add = [&result](const WeightSource& source) {
    for (const StoredTensor& tensor : source.tensors())
      result[std::string(name(tensor.view.dtype))] += tensor.view.bytes();
  };
  if (files.kind == ModelFiles::Kind::kHuggingFace) {
    add(*open_safetensors_folder(files.folder));
  } else {
    add(*GgufFile::open(files.gguf));
    if (!files.mmproj.empty()) add(*GgufFile::open(files.mmproj));
  }
  return result;
}

Json files_of(const ModelFiles& files) {
  Json list = Json::array();
  const auto add = [&list](const fs::path& path, const std::string& shown) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (!error) list.push_back({{"name", shown}, {"bytes", size}});
  };
  if (files.kind == ModelFiles::Kind::kHuggingFace) {
    for (const std::string& file : snapshot_files(files.folder))
      add(files.folder / file, file);
    return list;
  }
  add(files.gguf, files.gguf.filename().string());
  if (!files.mmproj.empty()) add(files.mmproj, files.mmproj.filename().string());
  return list;
}

Json facts(const Options& options) {
  const ModelFiles files = find_model_files(options.model, options.mmproj);
  const ModelDescription model = read_description(files);
  const ModelConfig& config = model.config;
  const MemoryPlan plan = plan_memory(model_spec(options), engine_options(options));
  Json types = Json::object();
  for (const auto& [type, bytes] : bytes_by_type(files))
    types[type] = bytes;
  const bool gguf = files.kind == ModelFiles::Kind::kGguf;
  Json result = {{"name", options.model},
                 {"path", (gguf ? files.gguf : files.folder).string()},
                 {"kind", gguf ? "gguf" : "safetensors"},
                 {"version", config.version->title},
                 {"sees", config.has_vision()},
                 {"hears", config.has_audio()},
                 {"thinks", config.version->thinking},
                 {"context_tokens", config.decoder.max_positions},
                 {"layers", config.decoder.num_layers},
                 {"hidden_size", config.decoder.hidden_size},
                 {"vocabulary", config.decoder.vocab_size},
                 {"types", std::move(types)},
                 {"memory_bytes", plan.total_bytes()},
                 {"memory_context_tokens", plan.context_tokens},
                 {"files", files_of(files)}};
  const auto name = parse_hub_name(options.model);
  if (const auto commit = name ? cached_commit(hub_cache_folder(), *name) : std::nullopt) result["commit"] = *commit;
  return result;
}

void print_facts(const Json& facts) {
  const auto line = [](std::string_view key, std::string_view value) {
    print(fmt::format("{:<12}{}\n", key, one_line(value)));
  };
  line("name", facts["name"].get<std::string>());
  line("version", facts["version"].get<std::string>());
  std::string does = "text";
  if (facts["sees"].get<bool>()) does += ", pictures and videos";
  if (facts["hears"].get<bool>()) does += ", sound";
  line("understands", does);
  line("context", fmt::format("{} tokens", facts["context_tokens"].get<int64_t>()));
  line("network", fmt::format("{} layers, {} wide, {} tokens known", facts["layers"].get<int64_t>(),
                              facts["hidden_size"].get<int64_t>(), facts["vocabulary"].get<int64_t>()));
  line("memory", fmt::format("{} with a context of {} tokens", bytes_text(facts["memory_bytes"].get<int64_t>()),
                             facts["memory_context_tokens"].get<int64_t>()));
  if (facts.contains("commit")) line("commit", facts["commit"].get<std::string>());
  line("path", facts["path"].get<std::string>());
  print(fmt::format("weights     {}\n", facts["kind"].get<std::string>()));
  for (const auto& [type, bytes] : facts["types"].items())
    print(fmt::format("  {:<8}{:>12}\n", type, bytes_text(bytes.get<int64_t>())));
  print("files\n");
  for (const Json& file : facts["files"])
    print(fmt::format("  {:<40}{:>12}\n", one_line(file["name"].get<std::string>()),
                      bytes_text(file["bytes"].get<int64_t>())));
}

}  // namespace

int run_show(const Options& options) {
  const Json result = facts(options);
  if (options.json) {
    print_json(result);
  } else {
    print_facts(result);
  }
  return kExitOk;
}

}  // namespace minicpm::cli
