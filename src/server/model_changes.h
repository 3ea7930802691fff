// Models that clients fetch from the hub and delete: Ollama's /api/pull and /api/delete.
#pragma once

#include <functional>
#include <string>

#include "hub/settings.h"
#include "server/answering.h"

namespace minicpm::server {

/// What a server needs for it, whose owner allows it.
struct ModelChanges {
  hub::HubSettings hub;
  /// A model of the store by its name, ready to be loaded. Throws Error as describe_served_model. Called by several
  /// threads at once.
  std::function<ServedModel(const std::string& name)> describe;
};

void ollama_pull(ApiContext& context, Exchange& exchange);
void ollama_delete(ApiContext& context, Exchange& exchange);
/// Addresses of Ollama that make or give away models.
void ollama_refused(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server
