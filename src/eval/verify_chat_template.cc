// Prompt texts of the reference message lists.
#include <map>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "eval/verify.h"
#include "text/chat_template.h"

namespace minicpm {
namespace {

constexpr size_t kMaxCaseBytes = 64 << 20;

ChatFamily family_of(const std::string& model, const std::string& source) {
  if (model == "v4.5") return ChatFamily::kQwen3;
  if (model == "o4.5") return ChatFamily::kOmni45;
  if (model == "o2.6") return ChatFamily::kOmni26Tts;
  if (model == "llama3-v2.5") return ChatFamily::kLlama3;
  if (model == "v2.0") return ChatFamily::kMiniCpm2;
  fail(ErrorCode::kUnsupported, "{}: no chat template is known for \"{}\"", source, model);
}

std::vector<ChatMessage> messages_of(const Json& one) {
  std::vector<ChatMessage> messages;
  for (const Json& json : one.at("messages")) {
    ChatMessage message;
    message.role = json.at("role").get<std::string>();
    if (json.contains("content") && !json["content"].is_null()) message.content = json["content"].get<std::string>();
    if (json.contains("reasoning_content") && !json["reasoning_content"].is_null()) {
      message.reasoning_content = json["reasoning_content"].get<std::string>();
    }
    message.tool_calls = json.value("tool_calls", Json());
    message.name = json.value("name", "");
    messages.push_back(std::move(message));
  }
  return messages;
}

/// Absent template variables are undefined there, which means false except for the image mark.
ChatTemplateOptions options_of(const Json& one) {
  ChatTemplateOptions options;
  options.add_generation_prompt = one.value("add_generation_prompt", false);
  if (one.contains("enable_thinking")) options.enable_thinking = one["enable_thinking"].get<bool>();
  options.tools = one.value("tools", Json());
  options.use_tts_template = one.value("use_tts_template", false);
  options.add_image_mark = one.value("add_image_msg", true);
  return options;
}

/// The two texts where they part, a few characters each.
std::string first_difference(const std::string& expected, const std::string& found) {
  constexpr size_t kShown = 24;
  size_t i = 0;
  while (i < expected.size() && i < found.size() && expected[i] == found[i])
    ++i;
  return fmt::format("byte {}: expected {}, found {}", i,
                     Json(expected.substr(i, kShown)).dump(-1, ' ', true, Json::error_handler_t::replace),
                     Json(found.substr(i, kShown)).dump(-1, ' ', true, Json::error_handler_t::replace));
}

}  // namespace

void verify_chat_template(const std::filesystem::path& folder, const VerifyReporter& report) {
  const std::string source = (folder / "cases.json").string();
  const Json cases = parse_json(read_file(source, kMaxCaseBytes), source);
  std::map<std::string, VerifyItem> items;
  std::map<std::string, size_t> counts;
  try {
    for (const Json& one : cases) {
      const auto model = one.at("model").get<std::string>();
      VerifyItem& item = items[model];
      ++counts[model];
      const auto expected = one.at("expected").get<std::string>();
      const std::string found = join(apply_chat_template(family_of(model, source), messages_of(one), options_of(one)));
      if (found == expected) continue;
      if (item.error == 0) {
        item.detail = fmt::format("{}, {}; ", one.at("name").get<std::string>(), first_difference(expected, found));
      }
      item.error += 1;
    }
  } catch (const Json::exception& error) {
    fail(ErrorCode::kBadFile, "{}: not in the form of chat template cases: {}", source, error.what());
  }
  for (auto& [model, item] : items) {
    item.name = "chat-template/" + model;
    item.ok = item.error == 0;
    item.detail += fmt::format("{} strings", counts[model]);
    report(item);
  }
}

}  // namespace minicpm
