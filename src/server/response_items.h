// The request of OpenAI's responses, read.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

struct ResponseCall {
  const ServedModel* model = nullptr;
  ChatRequest chat;
  bool stream = false;
  Json echo;  // the settings as the answer repeats them
};

/// `history`: the items that came before those of the request. Throws ApiError 400, 404.
ResponseCall read_response_call(const Fields& body, const ServedModel& model, MediaReader& media, const Json& history);

}  // namespace minicpm::server
