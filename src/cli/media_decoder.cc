#include "cli/media_decoder.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "media/sandbox/sandbox.h"

namespace minicpm::cli {

std::shared_ptr<MediaDecoder> media_decoder(std::string_view wish) {
  if (wish == "off") return nullptr;
  try {
    return MediaSandbox::start({.arguments = {std::string(kMediaWorker)}});
  } catch (const Error& error) {
    if (wish == "on") throw;
    note(fmt::format("minicpm: note: {}; this process decodes them itself\n", one_line(error.what())));
    return nullptr;
  }
}

}  // namespace minicpm::cli
