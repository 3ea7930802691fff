// The verbs, one per file. Each returns the exit code and throws Error.
#pragma once

#include "cli/options.h"

namespace minicpm::cli {

// The word that makes this program a media worker. No verb: only the program itself says it.
inline constexpr std::string_view kMediaWorker = "media-worker";

int run_run(const Options& options);
int run_serve(const Options& options);
int run_live(const Options& options);
int run_transcribe(const Options& options);
int run_speak(const Options& options);
int run_batch(const Options& options);
int run_pull(const Options& options);
int run_list(const Options& options);
int run_rm(const Options& options);
int run_show(const Options& options);
int run_inspect(const Options& options);
int run_plan(const Options& options);
int run_tokenize(const Options& options);
int run_detokenize(const Options& options);
int run_verify(const Options& options);
int run_bench(const Options& options);
int run_merge(const Options& options);
int run_train_check(const Options& options);
int run_train_sft(const Options& options);
int run_doctor(const Options& options);
int run_version(const Options& options);
int run_completion(const Options& options);
int run_help(const Options& options);

}  // namespace minicpm::cli
