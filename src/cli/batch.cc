// `batch`: a file of requests in, a file of answers out.
#include "server/batch.h"

#include <algorithm>
#include <optional>

#include "base/machine.h"
#include "cli/build_info.h"
#include "cli/media_decoder.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

/// Room for several contexts, so that requests are computed together; but no more than half of the memory that is free.
EngineOptions batch_engine(const Options& options, const ModelSpec& spec, int64_t parallel) {
  constexpr int64_t kMostContexts = 8;
  EngineOptions engine = engine_options(options);
  const MemoryPlan plan = plan_memory(spec, engine);
  const int64_t free_bytes = std::max<int64_t>(0, machine_memory().available_bytes - plan.total_bytes());
  const int64_t more = free_bytes / 2 / std::max<int64_t>(1, plan.kv_bytes);
  engine.cache_tokens = plan.context_tokens * std::clamp<int64_t>(1 + more, 1, std::min(parallel, kMostContexts));
  return engine;
}

}  // namespace

int run_batch(const Options& options) {
  const int64_t parallel = options.parallel.value_or(server::BatchOptions().parallel);
  const ModelSpec spec = model_spec(options);
  server::ServerOptions settings;
  settings.version = kVersion;
  settings.decoder = media_decoder(options.sandbox);
  std::vector<server::ServedModel> models;
  models.push_back(server::load_served_model(spec, batch_engine(options, spec, parallel)));
  server::OfflineServer server(settings, std::move(models));

  std::optional<Progress> progress;
  const Answering answering;
  server::BatchOptions batch{.parallel = static_cast<int>(parallel), .cancel = answering.cancel()};
  batch.on_progress = [&](const server::BatchProgress& state) {
    if (!progress) {
      ProgressOptions look{
          .label = "batch", .unit_name = "requests", .style = progress_style(options.quiet || options.json)};
      progress.emplace(state.total, std::move(look), state.done);
    }
    progress->update(state.done, state.failed > 0 ? fmt::format("{} failed", state.failed) : "");
  };
  const server::BatchTarget target{
      .answer = [&](server::HttpRequest request,
                    const std::atomic<bool>& cancel) { return server.answer(std::move(request), cancel); },
      .model = server.models().front().get().name};
  const server::BatchResult result = server::run_batch(options.data, options.out, target, batch);
  if (progress) progress->finish();
  const bool stopped = result.skipped + result.answered + result.failed < result.total;
  if (options.json) {
    print_json({{"total", result.total},
                {"skipped", result.skipped},
                {"answered", result.answered},
                {"failed", result.failed},
                {"out", options.out}});
  } else if (!options.quiet) {
    note(fmt::format("{} requests: {} answered, {} failed, {} answered before{}\n", result.total, result.answered,
                     result.failed, result.skipped, stopped ? "; stopped, the same command goes on" : ""));
  }
  return stopped ? kExitInterrupted : kExitOk;
}

}  // namespace minicpm::cli
