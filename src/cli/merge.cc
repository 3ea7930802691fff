#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "io/model_files.h"
#include "models/lora_merge.h"

namespace minicpm::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::optional<DType> chosen_type(const std::string& name) {
  if (name == "f32") return DType::kF32;
  if (name == "f16") return DType::kF16;
  if (name == "bf16") return DType::kBF16;
  return std::nullopt;
}

/// One line on standard error that is written over, if a person is looking.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (shown_) note("\r\x1b[K");
  }
  void show(int64_t done, int64_t total) {
    const auto now = Clock::now();
    if (!errors_are_on_terminal() || (shown_ && now - last_ < std::chrono::milliseconds(100))) return;
    last_ = now;
    shown_ = true;
    const int64_t percent =
        total > 0 ? static_cast<int64_t>(100.0 * static_cast<double>(done) / static_cast<double>(total)) : 100;
    note(fmt::format("\rmerging {:>3} %  {} of {}\x1b[K", percent, bytes_text(done), bytes_text(total)));
  }

 private:
  bool shown_ = false;
  Clock::time_point last_;
};

}  // namespace

int run_merge(const Options& options) {
  const auto start = Clock::now();
  const ModelFiles files = find_model_files(options.model, "");
  if (files.kind != ModelFiles::Kind::kHuggingFace) {
    fail(ErrorCode::kUnsupported,
         "{}: is a GGUF file; merge the Hugging Face folder it was made from and convert that, or use it with `run "
         "--lora`",
         options.model);
  }
  const auto lora = Lora::open(options.lora, static_cast<float>(options.lora_scale.value_or(1.0)));
  MergeOptions merge;
  merge.base = files.folder;
  merge.out = options.out;
  merge.type = chosen_type(options.type);
  merge.num_threads = static_cast<int>(options.threads.value_or(0));
  MergeReport report;
  {
    const Answering interruptible;
    ProgressLine line;
    report = merge_lora(*lora, merge, [&](int64_t done, int64_t total) {
      if (interruptible.cancelled()) fail(ErrorCode::kCancelled, "interrupted; nothing was written");
      line.show(done, total);
    });
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (options.json) {
    print_json({{"model", options.model},
                {"lora", options.lora},
                {"out", options.out},
                {"scale", lora->scale()},
                {"adapted", report.adapted},
                {"replaced", report.replaced},
                {"tensors", report.tensors},
                {"bytes", report.bytes},
                {"files", report.files},
                {"seconds", seconds}});
  } else {
    print(fmt::format("{}: {} matrices adapted and {} tensors replaced of {}; {} in {} file{}, {:.1f} s\n", options.out,
                      report.adapted, report.replaced, report.tensors, bytes_text(report.bytes), report.files,
                      report.files == 1 ? "" : "s", seconds));
  }
  return kExitOk;
}

}  // namespace minicpm::cli
