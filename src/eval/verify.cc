#include "eval/verify.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCaseFileLimitBytes = 16u << 20;

using VerifyFn = void (*)(const fs::path&, const VerifyOptions&, const VerifyReporter&);

struct CaseKind {
  std::string_view name;  // the "case" of case.json
  VerifyFn run;
};

// Kinds of models and of their parts; verify_model says which of them this build can run.
constexpr std::array kCaseKinds = {
    CaseKind{"preprocess",
             [](const fs::path& f, const VerifyOptions&, const VerifyReporter& r) { verify_preprocess(f, r); }},
    CaseKind{"sampling",
             [](const fs::path& f, const VerifyOptions&, const VerifyReporter& r) { verify_sampling(f, r); }},
    CaseKind{"tokenizer", verify_tokenizer},
    CaseKind{"chat-template",
             [](const fs::path& f, const VerifyOptions&, const VerifyReporter& r) { verify_chat_template(f, r); }},
    CaseKind{"v20-full", verify_model},
    CaseKind{"v25-full", verify_model},
    CaseKind{"v26-full", verify_model},
    CaseKind{"v40-full", verify_model},
    CaseKind{"v45-full", verify_model},
    CaseKind{"v45-llm", verify_model},
    CaseKind{"v45-video", verify_model},
    CaseKind{"v45-vision", verify_model},
    CaseKind{"o26-audio", verify_audio},
    CaseKind{"o26-full", verify_model},
    CaseKind{"o26-tts", verify_speech},
};

/// What runs the case in `folder`, or null if the folder holds none. The GGUF set has no case.json.
VerifyFn find_case(const fs::path& folder) {
  if (fs::exists(folder / "case.json")) {
    const std::string source = (folder / "case.json").string();
    const Json json = parse_json(read_file(source, kCaseFileLimitBytes), source);
    const auto kind = JsonObject(json, source).find_string("case");
    if (!kind) fail(ErrorCode::kBadFile, "{}: has no \"case\" that names its kind", source);
    for (const CaseKind& row : kCaseKinds) {
      if (row.name == *kind) return row.run;
    }
    fail(ErrorCode::kUnsupported, "{}: cases of kind \"{}\" are unknown", source, *kind);
  }
  if (fs::exists(folder / "cases.json")) return verify_gguf;
  return nullptr;
}

std::vector<fs::path> folders_inside(const fs::path& path) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory()) folders.push_back(it->path());
  }
  if (error) fail(ErrorCode::kIo, "{}: cannot be read: {}", path.string(), error.message());
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

void verify(const fs::path& path, const VerifyOptions& options, const VerifyReporter& report) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail(ErrorCode::kNotFound, "{}: no such case folder", path.string());
  if (!fs::is_directory(status)) {
    fail(ErrorCode::kNotFound, "{}: is a file; a case is the folder that holds case.json", path.string());
  }
  if (const VerifyFn run = find_case(path)) return run(path, options, report);

  // All kinds are looked up before the first case runs, so that an unknown one is not found after minutes of work.
  std::vector<std::pair<fs::path, VerifyFn>> cases;
  for (const fs::path& folder : folders_inside(path)) {
    const VerifyFn run = find_case(folder);
    if (run == nullptr) {
      fail(ErrorCode::kUnsupported, "{}: holds neither case.json nor cases.json, so its kind is unknown",
           folder.string());
    }
    cases.emplace_back(folder, run);
  }
  if (cases.empty()) fail(ErrorCode::kNotFound, "{}: holds no case.json, cases.json or case folders", path.string());
  for (const auto& [folder, run] : cases) {
    try {
      run(folder, options, report);
    } catch (const Error& e) {
      const auto code = e.code();
      if (code != ErrorCode::kUnsupported && code != ErrorCode::kBadFile && code != ErrorCode::kNotFound) throw;
      // A case that cannot run has failed; the others still tell what they have to tell.
      report({folder.filename().string(), std::numeric_limits<double>::infinity(), 0, false, e.what()});
    }
  }
}

}  // namespace minicpm
