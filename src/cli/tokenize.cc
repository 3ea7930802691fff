#include <fmt/format.h>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/tokenizer_of.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

/// A token's bytes so that blanks and line ends can be seen: JSON's escapes; bytes that are not UTF-8 as U+FFFD.
std::string quoted(const std::string& bytes) {
  return Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string input_text(const Options& options) {
  if (options.prompt && !options.prompt_file.empty()) {
    fail(ErrorCode::kInvalidRequest, "--prompt and --file exclude each other");
  }
  if (!options.prompt_file.empty()) return read_text(options.prompt_file);
  if (options.prompt && *options.prompt != "-") return *options.prompt;
  return read_text("-");
}

}  // namespace

int run_tokenize(const Options& options) {
  const std::string text = input_text(options);
  const auto tokenizer = open_tokenizer(options.model);
  const auto ids = tokenizer->encode(text, options.special ? ParseSpecial::kAll : ParseSpecial::kNone);
  if (options.json) {
    Json tokens = Json::array();
    for (int32_t id : ids)
      tokens.push_back({{"id", id}, {"text", tokenizer->token_bytes(id)}});
    Json document = {{"count", ids.size()}, {"ids", ids}};
    if (!options.ids_only) document["tokens"] = tokens;
    print_json(document);
  } else if (options.ids_only) {
    print(fmt::format("{}\n", fmt::join(ids, " ")));
  } else {
    for (int32_t id : ids)
      print(fmt::format("{:>8}  {}\n", id, quoted(tokenizer->token_bytes(id))));
  }
  return kExitOk;
}

}  // namespace minicpm::cli
