// Computed prompts on disk: /v1/sessions.
#pragma once

#include "server/answering.h"
#include "server/session_folder.h"

namespace minicpm::server {

void list_sessions(ApiContext& context, Exchange& exchange);
void save_session(ApiContext& context, Exchange& exchange);
void restore_session(ApiContext& context, Exchange& exchange);
void delete_session(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server
