#include "text/tokenizer_loader.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file_map.h"
#include "text/bpe_tokenizer.h"
#include "text/json_reader.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/tokenizer_files.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

/// A mapped file of a tokenizer folder.
class FileText {
 public:
  explicit FileText(const fs::path& path) : map_(FileMap::open(path)), source_(path.string()) {}
  std::string_view text() const { return {reinterpret_cast<const char*>(map_->bytes().data()), map_->bytes().size()}; }
  const std::string& source() const { return source_; }

 private:
  std::shared_ptr<const FileMap> map_;
  std::string source_;
};

TokenizerConfig read_config(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  if (!fs::exists(path)) return {};
  const FileText file(path);
  return read_tokenizer_config(file.text(), file.source());
}

/// added_tokens.json gives texts and ids only; `config` says which of them are special. Tokens that `rules` has already
/// are left as they are.
void add_added_tokens_file(const fs::path& folder, const TokenizerConfig& config, std::vector<AddedTokenRule>& rules) {
  const fs::path path = folder / "added_tokens.json";
  if (!fs::exists(path)) return;
  const FileText file(path);
  const TokenizerDocument document = read_tokenizer_document(file.text(), JsonLayout::kVocabulary, file.source());
  if (!document.has_vocab) fail(ErrorCode::kBadFile, "{}: expected an object of tokens and ids", file.source());
  std::vector<int32_t> known;
  for (const AddedTokenRule& rule : rules)
    known.push_back(rule.token.id);
  std::sort(known.begin(), known.end());
  std::vector<std::string> special = config.special_texts;
  std::sort(special.begin(), special.end());
  for (size_t i = 0; i < document.tables.ids.size(); ++i) {
    AddedTokenRule rule;
    rule.token.text = document.tables.tokens[i];
    rule.token.id = document.tables.ids[i];
    rule.token.special = std::binary_search(special.begin(), special.end(), rule.token.text);
    if (!std::binary_search(known.begin(), known.end(), rule.token.id)) rules.push_back(std::move(rule));
  }
}

/// merges.txt: a line "a b" per merge, best first; a first line "#version: ..." is skipped.
void read_merges(const FileText& file, BpeTables& tables) {
  std::string_view rest = file.text();
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos) {
      fail(ErrorCode::kBadFile, "{}: line {} must be two tokens with one space between", file.source(), line_number);
    }
    tables.merge_left.push_back(line.substr(0, space));
    tables.merge_right.push_back(line.substr(space + 1));
  }
}

/// vocab.json and merges.txt do not say how text is cut; the classes of the published folders mean the Qwen2 rules.
BpeSpec read_vocab_and_merges(const fs::path& folder, const TokenizerConfig& config) {
  constexpr std::string_view kQwenClasses[] = {"", "Qwen2Tokenizer", "Qwen2TokenizerFast", "MiniCPMVTokenizerFast",
                                               "MiniCPMOTokenizerFast"};
  const std::string tokenizer_class = config.tokenizer_class.value_or("");
  const FileText vocab(folder / "vocab.json");
  if (std::find(std::begin(kQwenClasses), std::end(kQwenClasses), tokenizer_class) == std::end(kQwenClasses)) {
    fail(ErrorCode::kUnsupported, "{}: the tokenizer class \"{}\" needs a tokenizer.json, which is not there",
         folder.string(), tokenizer_class);
  }
  TokenizerDocument document = read_tokenizer_document(vocab.text(), JsonLayout::kVocabulary, vocab.source());
  if (!document.has_vocab) fail(ErrorCode::kBadFile, "{}: expected an object of tokens and ids", vocab.source());
  BpeSpec spec;
  spec.source = vocab.source();
  spec.description = "bpe (qwen2)";
  spec.tables = std::move(document.tables);
  read_merges(FileText(folder / "merges.txt"), spec.tables);
  spec.nfc = true;
  spec.pretokenizer.add_split(kQwen2Pattern, false, spec.source);
  return spec;
}

/// Appends the added tokens of `config` whose ids are not among `rules` yet.
void add_config_tokens(const TokenizerConfig& config, std::vector<AddedTokenRule>& rules) {
  std::map<int32_t, bool> known;
  for (const AddedTokenRule& rule : rules)
    known[rule.token.id] = true;
  for (const AddedTokenRule& rule : config.added) {
    if (!known.contains(rule.token.id)) rules.push_back(rule);
  }
}

void set_named_tokens(const TokenizerConfig& config, TokenizerBase& tokenizer) {
  if (config.bos) tokenizer.set_bos(tokenizer.token_id(*config.bos));
  if (config.eos) tokenizer.set_eos(tokenizer.token_id(*config.eos));
}

/// Control and unknown pieces are what no text turns into by itself: they are added tokens.
std::vector<AddedTokenRule> control_pieces(const SentencePieceModel& model) {
  std::vector<AddedTokenRule> rules;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.types[i] != PieceType::kControl && model.types[i] != PieceType::kUnknown) continue;
    AddedTokenRule rule;
    rule.token = {std::string(model.pieces[i]), static_cast<int32_t>(i), true};
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace

TokenizerFolder read_tokenizer_folder(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail(ErrorCode::kNotFound, "{}: is not a folder", folder.string());
  TokenizerFolder out;
  out.config = read_config(folder);
  if (fs::exists(folder / "tokenizer.json")) {
    const FileText file(folder / "tokenizer.json");
    out.bpe = read_tokenizer_json(file.text(), file.source());
    add_config_tokens(out.config, out.bpe->added);
    return out;
  }
  if (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt")) {
    out.bpe = read_vocab_and_merges(folder, out.config);
    out.bpe->added = out.config.added;
    add_added_tokens_file(folder, out.config, out.bpe->added);
    return out;
  }
  if (fs::exists(folder / "tokenizer.model")) {
    const FileText file(folder / "tokenizer.model");
    out.sentencepiece = read_sentencepiece_model(file.text(), file.source());
    out.sentencepiece_added = out.config.added.empty() ? control_pieces(*out.sentencepiece) : out.config.added;
    add_added_tokens_file(folder, out.config, out.sentencepiece_added);
    return out;
  }
  fail(ErrorCode::kNotFound, "{}: has no tokenizer.json, no vocab.json with merges.txt and no tokenizer.model",
       folder.string());
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder) {
  TokenizerFolder files = read_tokenizer_folder(folder);
  if (files.bpe) {
    auto tokenizer = BpeTokenizer::make(std::move(*files.bpe));
    set_named_tokens(files.config, *tokenizer);
    return tokenizer;
  }
  auto tokenizer = SentencePieceTokenizer::make(std::move(*files.sentencepiece), std::move(files.sentencepiece_added),
                                                (folder / "tokenizer.model").string());
  set_named_tokens(files.config, *tokenizer);
  return tokenizer;
}

std::unique_ptr<Tokenizer> make_tokenizer_from_json(std::string_view json, std::string_view source) {
  return BpeTokenizer::make(read_tokenizer_json(json, std::string(source)));
}

std::unique_ptr<Tokenizer> make_tokenizer_from_sentencepiece(std::string_view bytes, std::string_view source) {
  SentencePieceModel model = read_sentencepiece_model(bytes, std::string(source));
  std::vector<AddedTokenRule> added = control_pieces(model);
  return SentencePieceTokenizer::make(std::move(model), std::move(added), std::string(source));
}

}  // namespace minicpm
