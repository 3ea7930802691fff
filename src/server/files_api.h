// OpenAI's files and batches.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_upload_file(ApiContext& context, Exchange& exchange);
void openai_list_files(ApiContext& context, Exchange& exchange);
void openai_find_file(ApiContext& context, Exchange& exchange);
void openai_file_content(ApiContext& context, Exchange& exchange);
void openai_delete_file(ApiContext& context, Exchange& exchange);

void openai_create_batch(ApiContext& context, Exchange& exchange);
void openai_list_batches(ApiContext& context, Exchange& exchange);
void openai_find_batch(ApiContext& context, Exchange& exchange);
void openai_cancel_batch(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server
