#include "server/conversation.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/api_error.h"
#include "text/tool_calls.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxTools = 128;

}  // namespace

void Conversation::place_results() {
  for (size_t i = 0; i < results_.size(); ++i) {
    if (!results_[i]) bad_field(calls_path_, "the call \"{}\" has no result", call_ids_[i].substr(0, 100));
    messages_.push_back({"tool", std::move(*results_[i])});
  }
  results_.clear();
  call_ids_.clear();
}

void Conversation::add(Message message, const std::string& path) {
  place_results();
  if (message.role == "system" && messages_.size() == 1 && messages_[0].role == "system") {
    std::ranges::move(message.content, std::back_inserter(messages_[0].content));
  } else if (message.role == "system" && !messages_.empty()) {
    bad_field(path, "a system message must be the first one");
  } else {
    messages_.push_back(std::move(message));
  }
}

void Conversation::add_calls(Message message, std::vector<std::string> ids, const std::string& path) {
  add(std::move(message), path);
  call_ids_ = std::move(ids);
  results_.resize(call_ids_.size());
  calls_path_ = path;
}

void Conversation::add_result(const std::string& id, std::vector<ContentPart> content, const std::string& path) {
  const auto found = std::ranges::find(call_ids_, id);
  if (found == call_ids_.end()) bad_field(path, "there is no call \"{}\" in the message before", id.substr(0, 100));
  auto& result = results_[static_cast<size_t>(found - call_ids_.begin())];
  if (result) bad_field(path, "the call \"{}\" has a result already", id.substr(0, 100));
  result = std::move(content);
}

std::vector<Message> Conversation::take() {
  place_results();
  return std::move(messages_);
}

Json tool_call_json(const std::string& name, const Json& arguments) {
  return {{"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

Json tool_json(const Fields& function) {
  check_fields(function, {{"name", "description", "parameters", "strict"}, {}, {}});
  if (!is_tool_name(function.required_string("name"))) {
    bad_field(function.path("name"), "must be 1 to 128 of A-Z a-z 0-9 _ - . : /");
  }
  function.string("description");
  function.object("parameters");
  function.boolean("strict");
  return {{"type", "function"}, {"function", function.json()}};
}

Json read_tools(const Fields& body) {
  Json tools = Json::array();
  const Json* list = body.array("tools");
  if (list == nullptr) return tools;
  if (list->size() > kMaxTools) bad_field(body.path("tools"), "has more than {} tools", kMaxTools);
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], fmt::format("{}[{}]", body.path("tools"), i));
    check_fields(tool, {{"type", "function"}, {}, {}});
    if (tool.required_string("type") != "function") bad_field(tool.path("type"), "must be function");
    tool.require("function");
    tools.push_back(tool_json(*tool.object("function")));
  }
  return tools;
}

void check_tool_name(const Json& tools, const std::string& name, const std::string& path) {
  const bool known = std::ranges::any_of(tools, [&](const Json& tool) { return tool["function"]["name"] == name; });
  if (!known) bad_field(path, "there is no tool \"{}\"", name.substr(0, 100));
}

std::optional<ToolUse> read_tool_use(const Fields& body) {
  ToolUse use;
  use.tools = read_tools(body);
  use.several = body.boolean("parallel_tool_calls").value_or(true);
  const Json* choice = body.find("tool_choice");
  const std::string path = body.path("tool_choice");
  if (choice == nullptr) return use.tools.empty() ? std::nullopt : std::optional(std::move(use));
  if (choice->is_object()) {
    const Fields named(*choice, path);
    check_fields(named, {{"type", "function"}, {}, {}});
    if (named.required_string("type") != "function") bad_field(named.path("type"), "must be function");
    named.require("function");
    const Fields function = *named.object("function");
    check_fields(function, {{"name"}, {}, {}});
    use.only = function.required_string("name");
    check_tool_name(use.tools, use.only, function.path("name"));
    use.must = true;
    return use;
  }
  if (*choice != "none" && *choice != "auto" && *choice != "required") {
    bad_field(path, "must be none, auto, required, or an object that names a function");
  }
  use.must = *choice == "required";
  if (use.must && use.tools.empty()) bad_field(path, "there are no tools to call");
  if (*choice == "none" || use.tools.empty()) return std::nullopt;
  return use;
}

}  // namespace minicpm::server
