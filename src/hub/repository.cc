#include "hub/repository.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/json.h"
#include "io/file_choice.h"

namespace minicpm::hub {
namespace {

constexpr size_t kMaxAnswerBytes = 32u << 20;
constexpr size_t kMaxFiles = 100'000;
constexpr int64_t kMaxFileBytes = int64_t{1} << 44;  // 16 TiB

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// The member of an object that is a string or whole number; anything else is a wrong answer.
std::string text_of(const Json& object, const char* key, const std::string& source) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) fail(ErrorCode::kNetwork, "{}: {} is no string", source, key);
  return found->get<std::string>();
}

uint64_t size_of(const Json& object, const std::string& source) {
  const auto found = object.find("size");
  if (found == object.end() || !found->is_number_unsigned() ||
      found->get<uint64_t>() > static_cast<uint64_t>(kMaxFileBytes)) {
    fail(ErrorCode::kNetwork, "{}: size is missing or out of range", source);
  }
  return found->get<uint64_t>();
}

RepositoryFile read_file_entry(const Json& entry, const std::string& source) {
  if (!entry.is_object()) fail(ErrorCode::kNetwork, "{}: a file is no object", source);
  RepositoryFile file;
  file.path = text_of(entry, "rfilename", source);
  if (!is_inner_path(file.path)) {
    fail(ErrorCode::kNetwork, "{}: names a file {}, which does not stay in its folder", source,
         Json(file.path.substr(0, 200)).dump(-1, ' ', true, Json::error_handler_t::replace));
  }
  const auto lfs = entry.find("lfs");
  const bool large = lfs != entry.end() && lfs->is_object();
  file.hash = large ? text_of(*lfs, "sha256", source) : text_of(entry, "blobId", source);
  file.size = size_of(large && lfs->contains("size") ? *lfs : entry, source);
  if (file.hash.size() != (large ? 64 : 40) || !is_hex(file.hash)) {
    fail(ErrorCode::kNetwork, "{}: {} has no proper hash", source, file.path);
  }
  return file;
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

bool ends_in_one_of(const std::string& path, std::span<const std::string_view> endings) {
  return std::ranges::any_of(endings, [&](std::string_view ending) { return path.ends_with(ending); });
}

/// Of a repository in the Hugging Face layout: what this program reads.
bool belongs_to_folder(const std::string& path) {
  constexpr std::string_view kModel[] = {".json", ".txt", ".model", ".jinja", ".safetensors"};
  constexpr std::string_view kNotAssets[] = {".py", ".png", ".jpg", ".jpeg", ".gif", ".mp4", ".md"};
  if (directory_of(path).empty()) return ends_in_one_of(path, kModel);
  return path.starts_with("assets/") && !ends_in_one_of(lower_case(path), kNotAssets);
}

std::vector<RepositoryFile> gguf_files(const Repository& repository, const HubName& name) {
  std::vector<std::string> paths, models;
  for (const RepositoryFile& file : repository.files) {
    paths.push_back(file.path);
    if (is_gguf_model_name(file.path)) models.push_back(file.path);
  }
  std::vector<std::string> wanted = choose_gguf(paths, name.format);
  if (wanted.empty()) {
    const std::string which = name.format.empty() ? "say which one with :FORMAT" : "none ends in " + name.format;
    fail(ErrorCode::kNotFound, "{}: has {}; {}", name.id(),
         models.empty() ? "no .gguf file" : fmt::format("{}", fmt::join(models, ", ")), which);
  }
  std::vector<std::string> beside;
  std::ranges::copy_if(paths, std::back_inserter(beside),
                       [&](const auto& path) { return directory_of(path) == directory_of(wanted[0]); });
  auto projector = choose_projector(beside, wanted[0]);
  if (!projector) {
    std::erase_if(paths, [](const auto& path) { return !directory_of(path).empty(); });
    projector = choose_projector(paths, wanted[0]);
  }
  if (projector) wanted.push_back(*projector);
  std::vector<RepositoryFile> files;
  std::ranges::copy_if(repository.files, std::back_inserter(files),
                       [&](const auto& file) { return std::ranges::find(wanted, file.path) != wanted.end(); });
  return files;
}

}  // namespace

Repository read_repository(const std::string& text, const std::string& source) {
  Json json;
  try {
    json = parse_json(text, source);
  } catch (const Error& error) {
    fail(ErrorCode::kNetwork, "{}", error.what());
  }
  if (!json.is_object()) fail(ErrorCode::kNetwork, "{}: is no JSON object", source);
  Repository repository;
  repository.commit = text_of(json, "sha", source);
  if (!is_commit(repository.commit)) fail(ErrorCode::kNetwork, "{}: sha is no commit", source);
  const auto siblings = json.find("siblings");
  if (siblings == json.end() || !siblings->is_array() || siblings->size() > kMaxFiles) {
    fail(ErrorCode::kNetwork, "{}: has no list of files", source);
  }
  std::set<std::string> seen;
  for (const Json& entry : *siblings) {
    RepositoryFile file = read_file_entry(entry, source);
    if (!seen.insert(file.path).second) fail(ErrorCode::kNetwork, "{}: names {} twice", source, file.path);
    repository.files.push_back(std::move(file));
  }
  return repository;
}

void fail_status(const GetReply& reply, const HubSettings& settings, const HubName& name) {
  const std::string code = reply.header("x-error-code");
  const std::string page = settings.endpoint + "/" + name.id();
  const bool withheld = !settings.token.empty() && !may_carry_token(settings.endpoint);
  const std::string token = settings.token.empty() ? "set HF_TOKEN to a token of yours"
                            : withheld             ? "the token was not sent, since HF_ENDPOINT is not https"
                                                   : "the token that was sent does not open it";
  if (code == "RevisionNotFound") {
    fail(ErrorCode::kNotFound, "{}: the hub has this model, but no revision {}", name.id(), name.revision);
  }
  if (reply.status == 404 || code == "RepoNotFound") {
    fail(ErrorCode::kNotFound, "{}: {} has no such model{}", name.text(), host_of(settings.endpoint),
         reply.status == 404 ? "" : ", or it is private: " + token);
  }
  if (code == "GatedRepo") {
    fail(ErrorCode::kRefused, "{}: is gated: accept its conditions at {}; {}", name.id(), page, token);
  }
  if (reply.status == 401 || reply.status == 403) {
    fail(ErrorCode::kRefused, "{}: {} refuses ({}): {}", name.id(), host_of(settings.endpoint), reply.status, token);
  }
  fail(ErrorCode::kNetwork, "{}: {} answers {}", name.id(), host_of(settings.endpoint), reply.status);
}

Repository fetch_repository(HttpClient& client, const HubSettings& settings, const HubName& name,
                            const std::atomic<bool>* cancel) {
  // The slash of a revision such as refs/pr/1 is encoded: the address goes on behind it.
  std::string revision;
  for (const char c : name.revision)
    revision += c == '/' ? std::string("%2F") : encode_path(std::string(1, c));
  const GetRequest request{
      .url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings.endpoint, name.id(), revision),
      .token = settings.token,
      .cancel = cancel};
  Attempts attempts(settings, cancel);
  while (true) {
    std::string asked_pause;
    try {
      const TextReply reply = get_text(client, request, kMaxAnswerBytes);
      if (reply.reply.status == 200) return read_repository(reply.body, host_of(settings.endpoint) + "'s answer");
      if (!is_passing_failure(reply.reply.status)) fail_status(reply.reply, settings, name);
      asked_pause = reply.reply.header("retry-after");
      if (!attempts.again(asked_pause)) fail_status(reply.reply, settings, name);
    } catch (const TransferError&) {
      if (!attempts.again()) throw;
    }
  }
}

std::vector<RepositoryFile> needed_files(const Repository& repository, const HubName& name) {
  const auto has = [&](const auto& test) { return std::ranges::any_of(repository.files, test, &RepositoryFile::path); };
  const bool folder = has([](const auto& path) { return path == "config.json"; }) && has([](const auto& path) {
                        return directory_of(path).empty() && path.ends_with(".safetensors");
                      });
  const bool gguf = has(is_gguf_model_name);
  if (!name.format.empty() || (!folder && gguf)) return gguf_files(repository, name);
  if (!folder) {
    fail(ErrorCode::kUnsupported, "{}: holds neither config.json with *.safetensors nor a .gguf file", name.id());
  }
  std::vector<RepositoryFile> files;
  std::ranges::copy_if(repository.files, std::back_inserter(files),
                       [](const auto& file) { return belongs_to_folder(file.path); });
  return files;
}

}  // namespace minicpm::hub
