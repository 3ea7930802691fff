// The tokenizer of a MODEL argument, without its weights.
#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace minicpm::cli {

/// Throws Error as load_tokenizer and GgufFile::open.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& model);

}  // namespace minicpm::cli
