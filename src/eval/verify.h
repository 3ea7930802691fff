// Recomputes the tensors of reference cases and compares.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "backend/registry.h"

namespace minicpm {

/// One expected item: passes when error <= limit.
struct VerifyItem {
  std::string name;  // "v45-full/logits"
  double error = 0;  // relative L2 error for tensors; number of differences for exact items
  double limit = 0;  // 0 means exact
  bool ok = false;
  std::string detail;  // what differs first, or how many strings a line stands for
};
using VerifyReporter = std::function<void(const VerifyItem&)>;

struct VerifyOptions {
  std::filesystem::path data;  // folder with the published tokenizer files (tokenizer and chat-template cases)
  BackendOptions backend;
};

/// Runs one case folder (case.json or cases.json inside), or all case folders inside `path`; of several, one that
/// cannot be run is reported as one failed item. Throws Error not_found for a missing case, unsupported for one of
/// unknown kind, invalid_request when `data` is needed and absent.
void verify(const std::filesystem::path& path, const VerifyOptions& options, const VerifyReporter& report);

// One function per kind of case; `folder` holds its files.
void verify_preprocess(const std::filesystem::path& folder, const VerifyReporter& report);
void verify_sampling(const std::filesystem::path& folder, const VerifyReporter& report);
void verify_tokenizer(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report);
void verify_chat_template(const std::filesystem::path& folder, const VerifyReporter& report);
void verify_model(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report);
void verify_audio(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report);
void verify_speech(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report);
void verify_gguf(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report);

}  // namespace minicpm
