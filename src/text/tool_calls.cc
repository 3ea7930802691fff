#include "text/tool_calls.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/json_schema.h"

namespace minicpm {
namespace {

constexpr std::string_view kHead = "\n{\"name\": \"", kMiddle = "\", \"arguments\": ", kTail = "}\n";

struct Tool {
  std::string name;
  const Json* parameters = nullptr;  // null: any object
  bool strict = false;
};

Tool read_tool(const Json& json, size_t index) {
  const auto refuse = [&](std::string_view what) { fail(ErrorCode::kInvalidRequest, "tools[{}]: {}", index, what); };
  if (!json.is_object() || !json.contains("function") || !json.at("function").is_object()) refuse("has no function");
  const Json& function = json.at("function");
  Tool tool;
  if (function.contains("name") && function.at("name").is_string()) tool.name = function.at("name").get<std::string>();
  if (!is_tool_name(tool.name)) refuse("its name must be 1 to 128 of A-Z a-z 0-9 _ - . : /");
  if (function.contains("parameters") && !function.at("parameters").is_null()) {
    tool.parameters = &function.at("parameters");
    if (!tool.parameters->is_object()) refuse("its parameters must be a JSON schema, which is an object");
  }
  if (function.contains("strict") && function.at("strict").is_boolean())
    tool.strict = function.at("strict").get<bool>();
  return tool;
}

Grammar::Rule arguments_rule(Grammar& grammar, const Tool& tool) {
  static const Json kAnyObject = {{"type", "object"}};
  if (tool.parameters == nullptr || tool.parameters->empty()) return add_json_schema(grammar, kAnyObject);
  Json schema = *tool.parameters;
  if (!schema.contains("type")) schema["type"] = "object";
  try {
    return add_json_schema(grammar, schema);
  } catch (const Error& error) {
    if (tool.strict) fail(ErrorCode::kInvalidRequest, "the strict tool {}: {}", tool.name, error.what());
    return add_json_schema(grammar, kAnyObject);
  }
}

}  // namespace

bool is_tool_name(std::string_view name) {
  constexpr size_t kLongest = 128;
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ':' || c == '/';
  };
  return !name.empty() && name.size() <= kLongest && std::ranges::all_of(name, allowed);
}

Grammar tool_call_grammar(const Json& tools, std::string_view only) {
  if (!tools.is_array() || tools.empty()) fail(ErrorCode::kInvalidRequest, "there are no tools to call");
  Grammar grammar;
  std::vector<Grammar::Rule> calls;
  std::set<std::string> names;
  for (size_t i = 0; i < tools.size(); ++i) {
    const Tool tool = read_tool(tools[i], i);
    if (!names.insert(tool.name).second) fail(ErrorCode::kInvalidRequest, "two tools are called {}", tool.name);
    if (!only.empty() && tool.name != only) continue;
    const Grammar::Rule begin = grammar.literal(std::string(kHead) + tool.name + std::string(kMiddle));
    calls.push_back(grammar.sequence({begin, arguments_rule(grammar, tool), grammar.literal(kTail)}));
  }
  if (calls.empty()) fail(ErrorCode::kInvalidRequest, "there is no tool called {}", only);
  grammar.set_start(grammar.choice(std::move(calls)));
  return grammar;
}

void ToolCallReader::push(std::string_view text) {
  text_ += text;
  if (!name_.empty() || text_.size() < kHead.size()) return;
  const size_t end = text_.find(kMiddle, kHead.size());
  if (end == std::string::npos) return;
  name_ = text_.substr(kHead.size(), end - kHead.size());
  text_.erase(0, end + kMiddle.size());
}

std::string ToolCallReader::take_arguments() {
  if (name_.empty()) return {};
  size_t known = text_.size();  // what may be the end of the call is held back
  if (text_.ends_with(kTail)) {
    known -= kTail.size();
  } else if (text_.ends_with(kTail[0])) {
    known -= 1;
  }
  std::string arguments = text_.substr(0, known);
  text_.erase(0, known);
  return arguments;
}

}  // namespace minicpm
