#include "eval/verify.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

void print_line(const VerifyItem& item) {
  print(fmt::format("{:<44} {:<10} limit {:<8} {}{}{}\n", one_line(item.name), fmt::format("{:.3g}", item.error),
                    item.limit == 0 ? std::string("exact") : fmt::format("{:.3g}", item.limit), item.ok ? "ok" : "FAIL",
                    item.detail.empty() ? "" : "  ", one_line(item.detail)));
}

}  // namespace

int run_verify(const Options& options) {
  VerifyOptions settings;
  settings.data = options.data;
  settings.backend = {.num_threads = static_cast<int>(options.threads.value_or(0)), .isa = options.isa};
  int64_t passed = 0, failed = 0;
  Json items = Json::array();
  const auto report = [&](const VerifyItem& item) {
    ++(item.ok ? passed : failed);
    if (options.json) {
      items.push_back({{"name", item.name},
                       {"error", item.error},
                       {"limit", item.limit},
                       {"ok", item.ok},
                       {"detail", item.detail}});
      return;
    }
    print_line(item);
    flush_output();
  };
  for (const std::string& path : options.cases)
    verify(path, settings, report);
  if (options.json) {
    print_json({{"items", items}, {"passed", passed}, {"failed", failed}});
  } else {
    print(fmt::format("{} passed, {} failed\n", passed, failed));
  }
  if (passed + failed == 0) fail(ErrorCode::kBadFile, "{}: holds nothing to check", options.cases.front());
  return failed == 0 ? kExitOk : kExitCheckFailed;
}

}  // namespace minicpm::cli
