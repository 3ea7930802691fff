#include "server/list_page.h"

#include <algorithm>
#include <charconv>

#include "server/api_error.h"

namespace minicpm::server {

ListPage read_page(const HttpRequest& request, int64_t default_limit, int64_t most) {
  ListPage page{.limit = default_limit};
  if (const auto text = request.query_field("limit")) {
    const char* end = text->data() + text->size();
    const auto [rest, error] = std::from_chars(text->data(), end, page.limit);
    if (error != std::errc() || rest != end || page.limit < 1 || page.limit > most) {
      bad_field("limit", "must be a whole number from 1 to {}", most);
    }
  }
  const std::string order = request.query_field("order").value_or("desc");
  if (order != "asc" && order != "desc") bad_field("order", "must be asc or desc");
  page.ascending = order == "asc";
  page.after = request.query_field("after").value_or("");
  return page;
}

Json page_json(Json rows, const ListPage& page) {
  if (!page.ascending) std::reverse(rows.begin(), rows.end());
  auto first = rows.begin();
  if (!page.after.empty()) {
    first = std::find_if(rows.begin(), rows.end(), [&](const Json& row) { return row["id"] == page.after; });
    if (first == rows.end()) bad_field("after", "is not in the list");
    ++first;
  }
  const auto last = first + std::min<int64_t>(page.limit, rows.end() - first);
  Json data = Json::array();
  for (auto row = first; row != last; ++row)
    data.push_back(std::move(*row));
  const bool empty = data.empty();
  Json json = {{"object", "list"},
               {"first_id", empty ? Json(nullptr) : data.front()["id"]},
               {"last_id", empty ? Json(nullptr) : data.back()["id"]},
               {"has_more", last != rows.end()}};
  json["data"] = std::move(data);
  return json;
}

}  // namespace minicpm::server
