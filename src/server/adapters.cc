#include "server/adapters.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <new>

#include "base/error.h"
#include "models/lora.h"
#include "server/answering.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

constexpr int kMostByClients = 64;  // adapters that requests have loaded

/// Size, time and place of an adapter's files: another text for files that were written anew.
std::string version_of(const fs::path& folder) {
  std::string text;
  for (const std::string_view file : {kLoraConfigFile, kLoraWeightsFile}) {
    struct stat status {};
    if (stat((folder / file).c_str(), &status) != 0) continue;
    text += fmt::format("{} {} {}.{:09} {};", file, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                        status.st_ino);
  }
  return text;
}

std::string called(const std::string& name) {
  return name.empty() ? "the adapter without a name" : "adapter " + name;
}

/// Without the path of the folder, which is no business of a client.
std::string without_folder(std::string text, const fs::path& folder) {
  for (const std::string& path : {folder.string() + "/", folder.string()}) {
    for (size_t at = text.find(path); at != std::string::npos; at = text.find(path, at))
      text.erase(at, path.size());
  }
  return text;
}

}  // namespace

bool is_adapter_name(std::string_view name) {
  const auto good = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  return !name.empty() && std::ranges::all_of(name, good);
}

ServedModel make_adapted(const AdapterSource& source, const std::function<ServedModel(const AdapterSource&)>& make) {
  ServedAdapter adapter{.name = source.name, .folder = source.folder};
  if (!source.folder.empty()) adapter.version = version_of(source.folder);
  ServedModel model = make(source);
  if (!source.folder.empty()) {
    const LoraConfig config = read_lora_config(source.folder / kLoraConfigFile);
    adapter.rank = config.r;
    adapter.scale = config.scale() * model.spec.lora_scale;
  }
  model.adapter = std::move(adapter);
  return model;
}

const ServedModel* Adapters::find(std::string_view name) const {
  for (const ServedModel& model : pool_.all()) {
    if (model.adapter && model.adapter->name == name) return &model;
  }
  return nullptr;
}

void Adapters::reload(std::span<const AdapterSource> wanted, const std::function<void(std::string_view)>& log) {
  const std::scoped_lock lock(changing_);
  for (const AdapterSource& source : wanted) {
    const ServedModel* const now = find(source.name);
    const bool same = now != nullptr && now->adapter->folder == source.folder && !now->adapter->by_client &&
                      (source.folder.empty() || now->adapter->version == version_of(source.folder));
    if (same) continue;
    const std::string_view stays = now == nullptr ? "it is not served" : "what was served stays";
    try {
      pool_.replace(make_adapted(source, options_.make));
      log(source.folder.empty() ? called(source.name) + " is gone"
                                : fmt::format("{} is read from {}", called(source.name), source.folder.string()));
    } catch (const Error& error) {
      log(fmt::format("warning: {} cannot be used, so {}: {}", called(source.name), stays, error.what()));
    } catch (const std::bad_alloc&) {
      log(fmt::format("warning: {} does not fit in memory, so {}", called(source.name), stays));
    }
  }
  for (const ServedModel& model : pool_.all()) {
    if (!model.adapter || model.adapter->by_client) continue;
    if (std::ranges::find(wanted, model.adapter->name, &AdapterSource::name) != wanted.end()) continue;
    pool_.retire(model);
    log(called(model.adapter->name) + " is gone");
  }
}

void Adapters::check_allowed() const {
  if (!options_.folder.empty()) return;
  throw ApiError(403, "this server lets no requests load and unload adapters (--allow-lora)");
}

fs::path Adapters::inside(const std::string& path) const {
  std::error_code error;
  const fs::path root = fs::canonical(options_.folder, error);
  if (error) throw ApiError(500, "the server's folder of adapters is gone");
  const fs::path found = fs::canonical(root / path, error);
  // One answer for both: what lies outside is no business of a client.
  const bool within = !error && std::ranges::mismatch(root, found).in1 == root.end();
  if (!within || found == root) bad_field("lora_path", "there is no such folder in the server's folder of adapters");
  return found;
}

void Adapters::load(const std::string& name, const std::string& path, bool in_place) {
  check_allowed();
  if (!is_adapter_name(name)) bad_field("lora_name", "expected letters, digits, - _ and .");
  const fs::path folder = inside(path);
  const std::scoped_lock lock(changing_);
  const ServedModel* const now = find(name);
  if (now != nullptr && !in_place) {
    throw ApiError(400, "there is an adapter \"" + name + "\" already; load_inplace takes its place", "lora_name");
  }
  const auto by_client = [](const ServedModel& model) { return model.adapter && model.adapter->by_client; };
  if (now == nullptr && std::ranges::count_if(pool_.all(), by_client) >= kMostByClients) {
    throw ApiError(400, fmt::format("{} adapters are loaded by requests, which are the most", kMostByClients));
  }
  try {
    ServedModel model = make_adapted({name, folder}, options_.make);
    model.adapter->by_client = now == nullptr || now->adapter->by_client;
    pool_.replace(std::move(model));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kOutOfMemory) throw;
    throw ApiError(400, without_folder(error.what(), fs::canonical(options_.folder)), "lora_path");
  }
}

void Adapters::unload(const std::string& name) {
  check_allowed();
  const std::scoped_lock lock(changing_);
  const ServedModel* const model = name.empty() ? nullptr : find(name);
  if (model == nullptr) {
    throw ApiError(404, "there is no adapter \"" + name.substr(0, 200) + "\" here", "lora_name", "lora_not_found");
  }
  if (!model->adapter->by_client) {
    throw ApiError(403, "adapter \"" + name + "\" belongs to the server's settings", "lora_name");
  }
  pool_.retire(*model);
}

Json Adapters::list() const {
  Json list = Json::array();
  std::error_code error;
  const fs::path root = options_.folder.empty() ? fs::path() : fs::canonical(options_.folder, error);
  for (const ServedModel& model : pool_.all()) {
    if (!model.adapter || model.adapter->folder.empty()) continue;
    const ServedAdapter& adapter = *model.adapter;
    Json json = {{"id", list.size()},
                 {"name", adapter.name},
                 {"model", model.name},
                 {"rank", adapter.rank},
                 {"scale", adapter.scale},
                 {"loaded", pool_.loaded(model)},
                 {"by_client", adapter.by_client}};
    if (!root.empty()) {
      const fs::path path = adapter.folder.lexically_relative(root);
      if (!path.empty() && *path.begin() != "..") json["path"] = path.string();
    }
    list.push_back(std::move(json));
  }
  return list;
}

const ServedModel& find_adapted(const ServedModels& models, const Fields& body) {
  const std::string name = body.string("model").value_or("");
  const auto lora = body.string("lora");
  if (!lora || lora->empty()) return models.find(name);
  try {
    return models.find(models.known(name).name + ":" + *lora);
  } catch (const ApiError& error) {
    if (error.status() != 404) throw;
  }
  const std::string& base = models.known(name).name;
  std::string list;
  for (const ServedModel& model : models.all()) {
    if (!model.adapter || model.adapter->name.empty() || !model.name.starts_with(base + ":")) continue;
    list += (list.empty() ? "; known: " : ", ") + model.adapter->name;
  }
  throw ApiError(404, fmt::format("{} has no adapter \"{}\"{}", base, lora->substr(0, 200), list), "lora",
                 "lora_not_found");
}

// ---- addresses -----------------------------------------------------------------------------------------------------

namespace {

Adapters& adapters_of(const ApiContext& context) {
  if (context.adapters != nullptr) return *context.adapters;
  throw ApiError(400, "adapters go with a server of one MODEL");
}

}  // namespace

void lora_adapters(ApiContext& context, Exchange& exchange) {
  send_json(exchange, context.adapters == nullptr ? Json::array() : context.adapters->list());
}

void load_lora_adapter(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"lora_name", "lora_path", "load_inplace"}, {}, {"base_model_name", "is_3d_lora_weight"}});
  const std::string name = body.required_string("lora_name");
  adapters_of(context).load(name, body.required_string("lora_path"), body.boolean("load_inplace").value_or(false));
  exchange.send({.content_type = "text/plain; charset=utf-8",
                 .body = "Success: LoRA adapter '" + name + "' added successfully."});
}

void unload_lora_adapter(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"lora_name"}, {"lora_int_id"}, {}});
  const std::string name = body.required_string("lora_name");
  adapters_of(context).unload(name);
  exchange.send({.content_type = "text/plain; charset=utf-8",
                 .body = "Success: LoRA adapter '" + name + "' removed successfully."});
}

}  // namespace minicpm::server
