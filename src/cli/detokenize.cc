#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/tokenizer_of.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

/// Numbers separated by blanks, commas or line ends, in brackets or not.
std::vector<int64_t> read_ids(const std::string& text) {
  std::vector<int64_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    at = std::find_if_not(at, end,
                          [](char c) { return std::string_view(" \t\r\n,[]").find(c) != std::string_view::npos; });
    if (at == end) return ids;
    int64_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc()) {
      const std::string word(at, std::find(at, std::min(end, at + 20), ' '));
      fail(ErrorCode::kInvalidRequest, "\"{}\" on standard input is no token id", word);
    }
    ids.push_back(id);
    at = next;
  }
}

}  // namespace

int run_detokenize(const Options& options) {
  const std::vector<int64_t> wide = options.ids.empty() ? read_ids(read_text("-")) : options.ids;
  const auto tokenizer = open_tokenizer(options.model);
  std::vector<int32_t> ids;
  for (int64_t id : wide) {
    if (id < 0 || id >= tokenizer->vocab_size()) {
      fail(ErrorCode::kInvalidRequest, "id {} is outside the vocabulary of {} tokens", id, tokenizer->vocab_size());
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  const std::string text = tokenizer->decode(ids, false);
  if (options.json) {
    print_json({{"text", text}, {"count", ids.size()}});
  } else {
    print(text + "\n");
  }
  return kExitOk;
}

}  // namespace minicpm::cli
