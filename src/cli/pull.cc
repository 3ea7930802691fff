// `pull`, `list` and `rm`: the models in the hub's cache.
#include "hub/pull.h"

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <iostream>

#include "base/error.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/store.h"
#include "io/model_files.h"

namespace minicpm::cli {
namespace {

HubName name_of(const std::string& text) {
  const auto name = parse_hub_name(text);
  if (!name) {
    fail(ErrorCode::kInvalidRequest, "\"{}\" is no name of the hub: ORG/NAME, ORG/NAME@REVISION or ORG/NAME:FORMAT",
         text);
  }
  return *name;
}

/// "3 days", for how long ago that was.
std::string age_text(int64_t seconds) {
  constexpr int64_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;
  const auto counted = [](int64_t count, std::string_view unit) {
    return fmt::format("{} {}{}", count, unit, count == 1 ? "" : "s");
  };
  if (seconds >= kDay) return counted(seconds / kDay, "day");
  if (seconds >= kHour) return counted(seconds / kHour, "hour");
  return counted(std::max<int64_t>(seconds / kMinute, 0), "minute");
}

void print_list(const std::vector<hub::StoredModel>& models) {
  size_t width = 4;
  for (const auto& model : models)
    width = std::max(width, model.name.text().size());
  print(fmt::format("{:<{}}  {:<11}  {:>10}  {:<10}  {}\n", "NAME", width, "KIND", "SIZE", "AGE", "COMMIT"));
  const int64_t now = std::time(nullptr);
  for (const auto& model : models) {
    constexpr size_t kShownDigits = 12;
    print(fmt::format("{:<{}}  {:<11}  {:>10}  {:<10}  {}\n", model.name.text(), width,
                      model.gguf ? "gguf" : "safetensors", bytes_text(model.bytes), age_text(now - model.modified),
                      model.commit.substr(0, kShownDigits)));
  }
}

bool said_yes(const std::string& question) {
  if (!input_is_terminal()) {
    fail(ErrorCode::kInvalidRequest, "nobody can be asked whether to remove it: give --yes");
  }
  note(question + " [y/N] ");
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

int run_pull(const Options& options) {
  const HubName name = name_of(options.model);
  const bool quiet = options.quiet || options.json;
  std::optional<Progress> progress;
  hub::PullOptions settings;
  settings.on_progress = [&](const hub::PullProgress& state) {
    if (!progress) {
      ProgressOptions look{.label = name.text(), .unit = ProgressOptions::Unit::kBytes, .style = progress_style(quiet)};
      progress.emplace(state.total_bytes, std::move(look), state.done_bytes);
    }
    progress->update(state.done_bytes, fmt::format("{}/{} files", state.done_files, state.total_files));
  };
  const hub::PullResult result = hub::pull(name, hub::settings_from_environment(), settings);
  if (progress) progress->finish();
  const std::string model = model_path(name.text()).string();
  if (options.json) {
    print_json({{"name", name.text()},
                {"commit", result.commit},
                {"path", model},
                {"files", result.files},
                {"bytes", result.bytes},
                {"fetched_bytes", result.fetched_bytes}});
  } else {
    print(model + "\n");
  }
  return kExitOk;
}

int run_list(const Options& options) {
  const auto models = hub::stored_models(hub_cache_folder());
  if (!options.json) {
    if (models.empty()) note("the store is empty; `minicpm pull ORG/NAME` fetches a model\n");
    if (!models.empty()) print_list(models);
    return kExitOk;
  }
  Json list = Json::array();
  for (const auto& model : models) {
    list.push_back({{"name", model.name.text()},
                    {"revision", model.name.revision},
                    {"commit", model.commit},
                    {"kind", model.gguf ? "gguf" : "safetensors"},
                    {"bytes", model.bytes},
                    {"modified", model.modified},
                    {"path", model_path(model.name.text()).string()}});
  }
  print_json(list);
  return kExitOk;
}

int run_rm(const Options& options) {
  const HubName name = name_of(options.model);
  const hub::Removal removal = hub::plan_removal(hub_cache_folder(), name);
  const std::string what = fmt::format("{} ({})", name.text(), bytes_text(removal.bytes));
  if (!options.yes && !said_yes("Remove " + what + " from the store?")) {
    note("nothing was removed\n");
    return kExitGeneral;
  }
  hub::remove(removal);
  note("removed " + what + "\n");
  return kExitOk;
}

}  // namespace minicpm::cli
