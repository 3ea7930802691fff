// OpenAI's responses that the server keeps: going on from them, and the addresses below /v1/responses.
#pragma once

#include <string>

#include "server/answering.h"

namespace minicpm::server {

/// "store" and "previous_response_id" of a request.
class Keeping {
 public:
  /// Throws ApiError 400 for a response that is not there, and when something is to be kept by a server that keeps
  /// nothing. All must outlive it.
  Keeping(ApiContext& context, const Exchange& exchange, const Fields& body);

  bool wanted() const { return wanted_; }
  /// The items before those of this request; empty without a response before.
  const Json& history() const { return history_; }
  /// Keeps the response if that is wanted.
  void keep(const Json& response) const;

 private:
  ApiContext& context_;
  const Exchange& exchange_;
  const Fields& body_;
  bool wanted_;
  std::string previous_;
  Json history_ = Json::array();
};

void openai_find_response(ApiContext& context, Exchange& exchange);
void openai_delete_response(ApiContext& context, Exchange& exchange);
void openai_response_items(ApiContext& context, Exchange& exchange);
/// Nothing is answered in the background, so that there is nothing to cancel.
void openai_cancel_response(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server
