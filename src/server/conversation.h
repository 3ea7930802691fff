// The messages of a request, with calls of tools and their results in the order that the model reads them in; and the
// tools themselves.
#pragma once

#include <string>
#include <vector>

#include "engine/chat.h"
#include "server/json_body.h"

namespace minicpm::server {

/// Collects messages. Throws ApiError 400 naming the field where results and calls do not fit together.
class Conversation {
 public:
  /// Instructions at the beginning that come in several messages become one. `path` is the message's own.
  void add(Message message, const std::string& path);
  /// An assistant's message with calls, whose ids the results will name.
  void add_calls(Message message, std::vector<std::string> ids, const std::string& path);
  /// The result of a call of the message before, in any order. `path` names the field with the id.
  void add_result(const std::string& id, std::vector<ContentPart> content, const std::string& path);
  std::vector<Message> take();

 private:
  void place_results();

  std::vector<Message> messages_;
  std::vector<std::string> call_ids_;                             // of the last calls
  std::vector<std::optional<std::vector<ContentPart>>> results_;  // of each
  std::string calls_path_;
};

/// One call for Message::tool_calls.
Json tool_call_json(const std::string& name, const Json& arguments);

/// {"type": "function", "function": {...}} as the engine takes it. Throws ApiError 400.
Json tool_json(const Fields& function);

/// Reads "tools" in OpenAI's form: [{"type": "function", "function": {...}}, ...]; empty if there are none.
Json read_tools(const Fields& body);

/// "tools", "tool_choice" and "parallel_tool_calls" of OpenAI's chat completions.
std::optional<ToolUse> read_tool_use(const Fields& body);

/// Throws ApiError 400 if `name` is not among the tools.
void check_tool_name(const Json& tools, const std::string& name, const std::string& path);

}  // namespace minicpm::server
