#include <fmt/format.h>

#include "base/error.h"
#include "base/machine.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/chat.h"

namespace minicpm::cli {

namespace {

void print_table(const MemoryPlan& plan, int64_t available_bytes) {
  const auto line = [](std::string_view name, int64_t bytes, std::string_view remark) {
    print(fmt::format("{:<15}{:>12}{}{}\n", name, bytes_text(bytes), remark.empty() ? "" : "  ", remark));
  };
  line("weights", plan.weights_bytes, plan.weights_mapped ? "mapped from the files" : "read from the files");
  line("converted", plan.converted_bytes, "norms, biases and tables in f32");
  line("KV cache", plan.kv_bytes, fmt::format("{} tokens of context", plan.context_tokens));
  line("activations", plan.activations_bytes, "estimated peak");
  if (plan.draft_bytes > 0) line("draft model", plan.draft_bytes, "all of it");
  if (plan.speech_bytes > 0) line("speech decoder", plan.speech_bytes, "beside the total, where answers are spoken");
  line("total", plan.total_bytes(), "");
  line("available", available_bytes, "");
}

}  // namespace

int run_plan(const Options& options) {
  const MemoryPlan plan = plan_memory(model_spec(options), engine_options(options));
  const MachineMemory memory = machine_memory();
  const bool fits = plan.total_bytes() <= memory.available_bytes;
  if (options.json) {
    print_json({{"model", options.model},
                {"context_tokens", plan.context_tokens},
                {"weights_bytes", plan.weights_bytes},
                {"weights_mapped", plan.weights_mapped},
                {"converted_bytes", plan.converted_bytes},
                {"kv_bytes", plan.kv_bytes},
                {"activations_bytes", plan.activations_bytes},
                {"draft_bytes", plan.draft_bytes},
                {"speech_bytes", plan.speech_bytes},
                {"total_bytes", plan.total_bytes()},
                {"available_bytes", memory.available_bytes},
                {"fits", fits}});
  } else {
    print_table(plan, memory.available_bytes);
  }
  if (!fits) {
    fail(ErrorCode::kOutOfMemory,
         "{} needs {}, but {} are available; a smaller context (-c) or a file with smaller weights needs less",
         options.model, bytes_text(plan.total_bytes()), bytes_text(memory.available_bytes));
  }
  return kExitOk;
}

}  // namespace minicpm::cli
