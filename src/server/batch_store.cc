#include "server/batch_store.h"

#include <system_error>

#include "base/error.h"
#include "server/answering.h"
#include "server/random_id.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

}  // namespace

bool is_finished(const Json& batch) {
  const Json& status = batch.at("status");
  return status == "completed" || status == "failed" || status == "cancelled";
}

BatchStore::BatchStore(ServerState& state) : state_(state), folder_(state.subfolder("batches")) {}

Json BatchStore::add(const std::string& scope, Json batch, const fs::path& requests_file) {
  batch["id"] = random_id("batch_");
  const std::string id = batch["id"].get<std::string>(), owner = scope_text(scope);
  std::error_code error;
  fs::create_hard_link(requests_file, requests(id), error);
  if (error) fs::copy_file(requests_file, requests(id), error);
  if (error) fail(ErrorCode::kIo, "{}: cannot be kept: {}", requests(id).string(), error.message());
  Transaction transaction(state_.database());
  {
    Statement count(state_.database(), "SELECT count(*) FROM batches WHERE scope = ?1 AND finished = 0", owner);
    if (count.next() && count.integer(0) >= state_.limits().batches) {
      clean(id);
      throw ApiError(400, fmt::format("{} batches are not finished yet; wait or cancel some", state_.limits().batches),
                     {}, "too_many_batches");
    }
  }
  Statement(state_.database(), "INSERT INTO batches VALUES (?1, ?2, 0, ?3, ?4)", id, owner, unix_time(), to_text(batch))
      .run();
  transaction.commit();
  return batch;
}

std::optional<Json> BatchStore::find(const std::string& scope, const std::string& id) {
  Transaction transaction(state_.database());
  return read(scope, id);
}

std::optional<Json> BatchStore::read(const std::string& scope, const std::string& id) {
  Statement query(state_.database(), "SELECT body FROM batches WHERE scope = ?1 AND id = ?2", scope_text(scope), id);
  if (!query.next()) return std::nullopt;
  return parse_json(query.text(0), "a stored batch");
}

Json BatchStore::list(const std::string& scope) {
  Transaction transaction(state_.database());
  Statement query(state_.database(), "SELECT body FROM batches WHERE scope = ?1 ORDER BY created, rowid",
                  scope_text(scope));
  Json list = Json::array();
  while (query.next())
    list.push_back(parse_json(query.text(0), "a stored batch"));
  return list;
}

std::optional<Json> BatchStore::change(const std::string& scope, const std::string& id,
                                       const std::function<void(Json&)>& change) {
  Transaction transaction(state_.database());
  auto batch = read(scope, id);
  if (!batch || is_finished(*batch)) return batch;
  change(*batch);
  Statement(state_.database(), "UPDATE batches SET body = ?2, finished = ?3 WHERE id = ?1", id, to_text(*batch),
            int64_t{is_finished(*batch)})
      .run();
  transaction.commit();
  return batch;
}

std::vector<BatchStore::Work> BatchStore::unfinished() {
  Transaction transaction(state_.database());
  Statement query(state_.database(), "SELECT id, scope FROM batches WHERE finished = 0 ORDER BY created, rowid");
  std::vector<Work> list;
  while (query.next())
    list.push_back({query.text(0), scope_from_text(query.text(1))});
  return list;
}

void BatchStore::clean(const std::string& id) const {
  std::error_code error;  // what stays behind costs room, no more
  for (const fs::path& path : {requests(id), answers(id), lock(id)})
    fs::remove(path, error);
}

}  // namespace minicpm::server
