// Responses that are kept: each with the items of its request, and the response before it.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "server/state.h"

namespace minicpm::server {

/// Whoever asks gives a scope; what another scope keeps is not there. Thread-safe. Throws Error io.
class ResponseStore {
 public:
  explicit ResponseStore(ServerState& state) : state_(state) {}

  /// `previous`: the id of the response it goes on from, or empty. What exceeds the limits goes, the least recently
  /// used first.
  void add(const std::string& scope, const std::string& previous, const Json& input, const Json& response);
  std::optional<Json> find(const std::string& scope, const std::string& id);
  /// Whether it was there.
  bool remove(const std::string& scope, const std::string& id);

  /// All items that came before: inputs and outputs of the responses up to `id`, oldest first. All of them count as
  /// used now. Nothing if `id` or one before it is not there. Throws ApiError 400 where it is too much.
  std::optional<Json> conversation(const std::string& scope, const std::string& id);
  /// The items that the response `id` was made from: the conversation before it and its own input.
  std::optional<Json> input_items(const std::string& scope, const std::string& id);

 private:
  enum class With { kOutput, kNoOutput };
  std::optional<Json> collect(const std::string& scope, const std::string& id, With last);
  void remove_excess(const std::string& scope);

  ServerState& state_;
};

}  // namespace minicpm::server
