// The chat in the terminal.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"
#include "engine/chat.h"

namespace minicpm::cli {

/// A picture and the name the user gave it.
struct NamedPicture {
  std::string file;
  std::shared_ptr<const Image> image;
};

/// Reads lines and answers until the end of input. `pictures` go with the first message. Returns the exit code.
int chat_loop(Engine& engine, const Options& options, std::vector<NamedPicture> pictures);

}  // namespace minicpm::cli
