// Pages of OpenAI's lists: "limit", "after" and "order" of the query.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "server/http.h"

namespace minicpm::server {

struct ListPage {
  int64_t limit = 20;
  bool ascending = false;
  std::string after;  // the id of the last row of the page before
};

/// Throws ApiError 400.
ListPage read_page(const HttpRequest& request, int64_t default_limit, int64_t most);

/// {"object": "list", "data", "first_id", "last_id", "has_more"} with a part of `rows`, which have an "id" and are in
/// ascending order. Throws ApiError 400 for an `after` that is not there.
Json page_json(Json rows, const ListPage& page);

}  // namespace minicpm::server
