// Help texts made from the table.
#pragma once

#include <string>
#include <string_view>

#include "cli/options.h"

namespace minicpm::cli {

std::string overview();
/// What begins with a word that is no verb of its own: "train".
std::string group_help(std::string_view word);
std::string verb_help(const VerbRow& verb);

}  // namespace minicpm::cli
