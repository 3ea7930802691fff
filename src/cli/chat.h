// The chat in the terminal.
#pragma once

#include <vector>

#include "cli/media.h"
#include "cli/options.h"
#include "engine/chat.h"

namespace minicpm::cli {

/// Reads lines and answers until the end of input. `media` goes with the first message. Returns the exit code.
int chat_loop(Engine& engine, const Options& options, std::vector<NamedMedia> media);

}  // namespace minicpm::cli
