// Help texts made from the table.
#pragma once

#include <string>

#include "cli/options.h"

namespace minicpm::cli {

std::string overview();
std::string verb_help(const VerbRow& verb);

}  // namespace minicpm::cli
