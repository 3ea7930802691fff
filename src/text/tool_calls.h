// Calls of tools in answers, in the form of Qwen3's template: between the tokens <tool_call> and </tool_call> stands
// `\n{"name": "NAME", "arguments": OBJECT}\n`.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "text/grammar.h"

namespace minicpm {

inline constexpr std::string_view kToolCallBegin = "<tool_call>";
inline constexpr std::string_view kToolCallEnd = "</tool_call>";

/// 1 to 128 of A-Z a-z 0-9 _ - . : /
bool is_tool_name(std::string_view name);

/// The text between both tokens for one call of any of `tools` ({"type": "function", "function": {"name",
/// "parameters"}}), or of the one called `only` if that is not empty. Arguments satisfy the tool's schema; where the
/// schema holds what json_schema_grammar does not keep they are any object, unless the tool is "strict". Throws Error
/// invalid_request: no tools, a name that is none or comes twice, `only` not among them, a strict tool whose schema
/// cannot be kept.
Grammar tool_call_grammar(const Json& tools, std::string_view only);

/// Takes the text of one call apart while it is written.
class ToolCallReader {
 public:
  /// The next bytes.
  void push(std::string_view text);
  /// Set once the name is complete; empty before.
  const std::string& name() const { return name_; }
  /// What has become known of the arguments since this was last asked.
  std::string take_arguments();

 private:
  std::string text_;  // not yet given out
  std::string name_;
};

}  // namespace minicpm
