// Token ids of the reference strings for the published tokenizers.
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "eval/verify.h"
#include "text/tokenizer_loader.h"

namespace minicpm {
namespace {

constexpr size_t kMaxCaseBytes = 64 << 20;

/// The expected lists of a string and how they are made.
struct Field {
  const char* name;
  ParseSpecial special;
};
constexpr Field kFields[] = {
    {"ids", ParseSpecial::kAll},
    {"plain", ParseSpecial::kNone},
    {"split_special", ParseSpecial::kNonSpecial},
};

/// Where two lists of ids part: "position 3: expected 11, found 12".
std::string first_difference(const std::vector<int32_t>& expected, const std::vector<int32_t>& found) {
  size_t i = 0;
  while (i < expected.size() && i < found.size() && expected[i] == found[i])
    ++i;
  const auto id_at = [i](const std::vector<int32_t>& ids) {
    return i < ids.size() ? fmt::format("{}", ids[i]) : std::string("the end");
  };
  return fmt::format("position {}: expected {}, found {}", i, id_at(expected), id_at(found));
}

/// Nothing if no case has the field.
std::optional<VerifyItem> compare_field(const Json& cases, const std::string& model, const Field& field,
                                        const Tokenizer& tokenizer) {
  VerifyItem item;
  item.name = fmt::format("tokenizer/{}/{}", model, field.name);
  size_t strings = 0;
  for (const Json& one : cases) {
    const auto expected_of_model = one.find(model);
    if (expected_of_model == one.end() || !expected_of_model->contains(field.name)) continue;
    ++strings;
    const auto expected = expected_of_model->at(field.name).get<std::vector<int32_t>>();
    const std::vector<int32_t> found = tokenizer.encode(one.at("text").get<std::string>(), field.special);
    if (found == expected) continue;
    if (item.error == 0) {
      item.detail = fmt::format("case {}, {}; ", one.at("id").get<int64_t>(), first_difference(expected, found));
    }
    item.error += 1;
  }
  if (strings == 0) return std::nullopt;
  item.ok = item.error == 0;
  item.detail += fmt::format("{} strings", strings);
  return item;
}

}  // namespace

void verify_tokenizer(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report) {
  const std::string source = (folder / "cases.json").string();
  if (options.data.empty()) {
    fail(ErrorCode::kInvalidRequest,
         "{}: these cases need the published tokenizer files; name their folder with --data", folder.string());
  }
  const Json cases = parse_json(read_file(source, kMaxCaseBytes), source);
  const std::string about = (folder / "case.json").string();
  const Json description = parse_json(read_file(about, kMaxCaseBytes), about);
  try {
    for (const Json& model : description.at("models")) {
      const auto name = model.get<std::string>();
      const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(options.data / name);
      for (const Field& field : kFields) {
        if (const auto item = compare_field(cases, name, field, *tokenizer)) report(*item);
      }
    }
  } catch (const Json::exception& error) {
    fail(ErrorCode::kBadFile, "{}: not in the form of tokenizer cases: {}", source, error.what());
  }
}

}  // namespace minicpm
