// Tokenizer files from hostile hands. The first byte chooses the reader: even, a tokenizer.json; odd, a SentencePiece
// model. What loads must encode and decode some text without losing track of it.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/stream_decoder.h"
#include "text/tokenizer_loader.h"

namespace {

using minicpm::ParseSpecial;

void exercise(const minicpm::Tokenizer& tokenizer, std::string_view own_text) {
  const std::string texts[] = {"hello  world\n<|im_end|><unk> 123 e\xCC\x81 \xE4\xBD\xA0\xFF\xC3",
                               std::string(own_text)};
  for (const std::string& text : texts) {
    std::vector<std::vector<int32_t>> results;
    for (const ParseSpecial special : {ParseSpecial::kNone, ParseSpecial::kAll, ParseSpecial::kNonSpecial})
      results.push_back(tokenizer.encode(text, special));
    const size_t half = text.size() / 2;
    results.push_back(
        tokenizer.encode(std::vector<minicpm::PromptPiece>{{text.substr(0, half), true}, {text.substr(half), false}}));
    for (const std::vector<int32_t>& ids : results) {
      minicpm::StreamDecoder decoder(tokenizer);
      for (const int32_t id : ids) {
        if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
        decoder.push(id);
      }
      decoder.finish();
      tokenizer.decode(ids, true);
    }
  }
  tokenizer.token_id("hello");
  tokenizer.token_bytes(tokenizer.vocab_size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const auto tokenizer = data[0] % 2 == 0 ? minicpm::make_tokenizer_from_json(bytes, "fuzz.json")
                                            : minicpm::make_tokenizer_from_sentencepiece(bytes, "fuzz.model");
    exercise(*tokenizer, bytes.substr(0, 512));
  } catch (const minicpm::Error& error) {
    if (error.code() == minicpm::ErrorCode::kInternal) std::abort();
  }
  return 0;
}
