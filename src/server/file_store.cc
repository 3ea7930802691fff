#include "server/file_store.h"

#include <system_error>

#include "server/answering.h"
#include "server/random_id.h"

namespace minicpm::server {
namespace {

constexpr char kFacts[] = "SELECT id, created, bytes, name, purpose FROM files WHERE scope = ?1";

Json facts(const Statement& row) {
  return {{"id", row.text(0)},       {"object", "file"},        {"created_at", row.integer(1)},
          {"bytes", row.integer(2)}, {"filename", row.text(3)}, {"purpose", row.text(4)},
          {"status", "processed"}};
}

}  // namespace

FileStore::FileStore(ServerState& state) : state_(state), folder_(state.subfolder("files")) {}

void FileStore::check_room(const std::string& scope, int64_t bytes) {
  const StateLimits& limits = state_.limits();
  Transaction transaction(state_.database());
  Statement sums(state_.database(), "SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE scope = ?1",
                 scope_text(scope));
  if (!sums.next()) return;
  if (sums.integer(0) >= limits.files || sums.integer(1) + bytes > limits.file_bytes) {
    throw ApiError(400,
                   fmt::format("file: there would be more than {} files or {} MiB; delete some", limits.files,
                               limits.file_bytes >> 20),
                   "file", "too_many_files");
  }
}

Json FileStore::add(const std::string& scope, const std::string& name, const std::string& purpose,
                    const std::function<void(AtomicFile&)>& write) {
  const std::string id = random_id("file-");
  AtomicFile file(content(id));
  write(file);
  const auto bytes = static_cast<int64_t>(file.size());
  file.commit();
  Transaction transaction(state_.database());
  Statement(state_.database(), "INSERT INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6)", id, scope_text(scope), unix_time(),
            bytes, name, purpose)
      .run();
  Statement query(state_.database(), std::string(kFacts) + " AND id = ?2", scope_text(scope), id);
  query.next();
  Json json = facts(query);
  query.run();
  transaction.commit();
  return json;
}

std::optional<Json> FileStore::find(const std::string& scope, const std::string& id) {
  Transaction transaction(state_.database());
  Statement query(state_.database(), std::string(kFacts) + " AND id = ?2", scope_text(scope), id);
  if (!query.next()) return std::nullopt;
  return facts(query);
}

Json FileStore::list(const std::string& scope, const std::string& purpose) {
  Transaction transaction(state_.database());
  Statement query(state_.database(), std::string(kFacts) + " AND (?2 = '' OR purpose = ?2) ORDER BY created, rowid",
                  scope_text(scope), purpose);
  Json list = Json::array();
  while (query.next())
    list.push_back(facts(query));
  return list;
}

bool FileStore::remove(const std::string& scope, const std::string& id) {
  {
    Transaction transaction(state_.database());
    const int64_t count =
        Statement(state_.database(), "DELETE FROM files WHERE scope = ?1 AND id = ?2", scope_text(scope), id).run();
    transaction.commit();
    if (count == 0) return false;
  }
  std::error_code error;
  std::filesystem::remove(content(id), error);  // without its row nobody finds it
  return true;
}

}  // namespace minicpm::server
