#include "server/response_store.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <vector>

#include "server/api_error.h"
#include "server/json_body.h"

namespace minicpm::server {
namespace {

constexpr int64_t kMostBytes = int64_t{256} << 20;  // of one conversation
constexpr int64_t kMostResponses = 4096;            // likewise

int64_t now_ms() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count();
}

void append(Json& items, Json more) {
  for (Json& item : more)
    items.push_back(std::move(item));
}

}  // namespace

void ResponseStore::add(const std::string& scope, const std::string& previous, const Json& input,
                        const Json& response) {
  const std::string owner = scope_text(scope), items = to_text(input), body = to_text(response);
  Transaction transaction(state_.database());
  Statement(state_.database(), "INSERT INTO responses VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            response["id"].get<std::string>(), owner, previous, now_ms(),
            static_cast<int64_t>(items.size() + body.size()), items, body)
      .run();
  remove_excess(owner);
  transaction.commit();
}

void ResponseStore::remove_excess(const std::string& scope) {
  constexpr int64_t kDayMs = 86'400'000;
  Database& database = state_.database();
  const StateLimits& limits = state_.limits();
  Statement(database, "DELETE FROM responses WHERE scope = ?1 AND used < ?2", scope, now_ms() - limits.days * kDayMs)
      .run();
  {
    Statement sums(database, "SELECT count(*), coalesce(sum(bytes), 0) FROM responses WHERE scope = ?1", scope);
    if (!sums.next() || (sums.integer(0) <= limits.responses && sums.integer(1) <= limits.response_bytes)) return;
  }
  Statement(database,
            "DELETE FROM responses WHERE rowid IN (SELECT r FROM (SELECT rowid AS r, "
            "row_number() OVER newest AS place, sum(bytes) OVER newest AS held FROM responses WHERE scope = ?1 "
            "WINDOW newest AS (ORDER BY used DESC, rowid DESC)) WHERE place > ?2 OR held > ?3)",
            scope, limits.responses, limits.response_bytes)
      .run();
}

std::optional<Json> ResponseStore::find(const std::string& scope, const std::string& id) {
  Transaction transaction(state_.database());
  Statement query(state_.database(), "SELECT body FROM responses WHERE id = ?1 AND scope = ?2", id, scope_text(scope));
  if (!query.next()) return std::nullopt;
  return parse_json(query.text(0), "a stored response");
}

bool ResponseStore::remove(const std::string& scope, const std::string& id) {
  Transaction transaction(state_.database());
  const int64_t count =
      Statement(state_.database(), "DELETE FROM responses WHERE id = ?1 AND scope = ?2", id, scope_text(scope)).run();
  transaction.commit();
  return count > 0;
}

std::optional<Json> ResponseStore::conversation(const std::string& scope, const std::string& id) {
  return collect(scope, id, With::kOutput);
}

std::optional<Json> ResponseStore::input_items(const std::string& scope, const std::string& id) {
  return collect(scope, id, With::kNoOutput);
}

std::optional<Json> ResponseStore::collect(const std::string& scope, const std::string& id, With last) {
  struct Turn {
    std::string input, body;
  };
  std::vector<Turn> turns;  // newest first
  const std::string owner = scope_text(scope);
  int64_t bytes = 0;
  {
    Transaction transaction(state_.database());
    for (std::string next = id; !next.empty();) {
      Statement query(
          state_.database(),
          "UPDATE responses SET used = ?3 WHERE id = ?1 AND scope = ?2 RETURNING previous, bytes, input, body", next,
          owner, now_ms());
      if (!query.next()) return std::nullopt;
      next = query.text(0);
      bytes += query.integer(1);
      turns.push_back({query.text(2), query.text(3)});
      query.run();
      if (bytes > kMostBytes || static_cast<int64_t>(turns.size()) > kMostResponses) {
        throw ApiError(400, "the conversation is too long", "previous_response_id", "conversation_too_long");
      }
    }
    transaction.commit();
  }
  Json items = Json::array();
  std::ranges::reverse(turns);
  for (const Turn& turn : turns) {
    append(items, parse_json(turn.input, "a stored input"));
    if (&turn == &turns.back() && last == With::kNoOutput) break;
    append(items, std::move(parse_json(turn.body, "a stored response")["output"]));
  }
  return items;
}

}  // namespace minicpm::server
