// Where verbs that answer requests decode their media.
#pragma once

#include <memory>
#include <string_view>

#include "media/media_decoder.h"

namespace minicpm::cli {

/// `wish`: --sandbox. Null: in this process; where that was not wished for, a note says why. Throws Error unsupported
/// where the machine allows no sandbox and one is demanded.
std::shared_ptr<MediaDecoder> media_decoder(std::string_view wish);

}  // namespace minicpm::cli
