#include "text/chat_template.h"

#include <string_view>

#include "base/error.h"
#include "text/python_json.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

using Pieces = std::vector<PromptPiece>;

constexpr std::string_view kImageMark = "(<image>./</image>)";
constexpr std::string_view kThinkOpen = "<think>";
constexpr std::string_view kThinkClose = "</think>";

/// Collects pieces; neighbours of the same kind become one.
class PromptBuilder {
 public:
  PromptBuilder& control(std::string_view text) { return add(text, true); }
  PromptBuilder& user(std::string_view text) { return add(text, false); }
  PromptBuilder& user(const Pieces& pieces) {
    for (const PromptPiece& piece : pieces)
      add(piece.text, piece.control);
    return *this;
  }
  Pieces take() { return std::move(pieces_); }

 private:
  PromptBuilder& add(std::string_view text, bool control) {
    if (text.empty()) return *this;
    if (pieces_.empty() || pieces_.back().control != control) pieces_.push_back({"", control});
    pieces_.back().text += text;
    return *this;
  }
  Pieces pieces_;
};

Pieces content_of(const ChatMessage& message) {
  if (!message.content_pieces.empty()) return message.content_pieces;
  return {{message.content, false}};
}

std::string text_of(const ChatMessage& message) {
  return message.content_pieces.empty() ? message.content : join(message.content_pieces);
}

std::string_view strip_newlines(std::string_view text, bool front, bool back) {
  while (front && text.starts_with('\n'))
    text.remove_prefix(1);
  while (back && text.ends_with('\n'))
    text.remove_suffix(1);
  return text;
}

/// White space as Python's str.strip() sees it: Unicode's, and the four separators U+001C to U+001F.
bool is_python_space(uint32_t c) {
  return is_unicode_space(c) || (c >= 0x1C && c <= 0x1F);
}

std::string_view strip_front(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    if (step.kind != Utf8Step::Kind::kValid || !is_python_space(step.code_point)) break;
    text.remove_prefix(step.length);
  }
  return text;
}

std::string_view strip_back(std::string_view text) {
  size_t end = 0;  // of what is kept
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = next_utf8(text.substr(at));
    at += step.length;
    if (step.kind != Utf8Step::Kind::kValid || !is_python_space(step.code_point)) end = at;
  }
  return text.substr(0, end);
}

/// The pieces without white space at both ends of their joined text.
Pieces stripped(Pieces pieces) {
  for (PromptPiece& piece : pieces) {
    piece.text = std::string(strip_front(piece.text));
    if (!piece.text.empty()) break;
  }
  for (size_t i = pieces.size(); i-- > 0;) {
    pieces[i].text = std::string(strip_back(pieces[i].text));
    if (!pieces[i].text.empty()) break;
  }
  return pieces;
}

[[noreturn]] void fail_role(const ChatMessage& message, std::string_view expected) {
  fail(ErrorCode::kInvalidRequest, "a message has the role \"{}\", expected {}", message.role, expected);
}

// ---- ChatML with reasoning and tools: MiniCPM-V 4.5 and o 4.5 (Qwen3) ----

constexpr std::string_view kToolsHead =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view kToolsTail =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

bool has_items(const Json& json) {
  return json.is_array() && !json.empty();
}

void write_system(const ChatMessage& first, const Json& tools, PromptBuilder& prompt) {
  const bool has_system = first.role == "system";
  if (has_items(tools)) {
    prompt.control("<|im_start|>system\n");
    if (has_system) prompt.user(content_of(first)).control("\n\n");
    prompt.control(kToolsHead);
    for (const Json& tool : tools)
      prompt.control("\n").user(to_python_json(tool));
    prompt.control(kToolsTail);
  } else if (has_system) {
    prompt.control("<|im_start|>system\n").user(content_of(first)).control("<|im_end|>\n");
  }
}

/// The last message that a person wrote: tool results written as user messages do not count.
size_t last_query_index(const std::vector<ChatMessage>& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role != "user") continue;
    const std::string text = text_of(messages[i]);
    if (!text.starts_with("<tool_response>") || !text.ends_with("</tool_response>")) return i;
  }
  return messages.size() - 1;
}

/// An assistant's text taken apart.
struct Answer {
  std::string reasoning;
  std::string content;
};

Answer split_reasoning(const ChatMessage& message) {
  const std::string text = text_of(message);
  if (message.reasoning_content) return {*message.reasoning_content, text};
  const size_t first = text.find(kThinkClose);
  if (first == std::string::npos) return {"", text};
  const std::string_view view = text;
  const std::string_view content = view.substr(view.rfind(kThinkClose) + kThinkClose.size());
  std::string_view reasoning = strip_newlines(view.substr(0, first), false, true);
  if (const size_t open = reasoning.rfind(kThinkOpen); open != std::string_view::npos) {
    reasoning.remove_prefix(open + kThinkOpen.size());
  }
  return {std::string(strip_newlines(reasoning, true, false)), std::string(strip_newlines(content, true, false))};
}

void write_tool_calls(const Json& calls, bool after_text, PromptBuilder& prompt) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const Json* call = &calls[i];
    if (call->is_object() && call->contains("function") && !(*call)["function"].empty()) call = &(*call)["function"];
    const bool complete =
        call->is_object() && call->contains("name") && (*call)["name"].is_string() && call->contains("arguments");
    if (!complete) fail(ErrorCode::kInvalidRequest, "tool_calls[{}] needs a name and arguments", i);
    const Json& arguments = (*call)["arguments"];
    if (i > 0 || after_text) prompt.control("\n");
    prompt.control("<tool_call>\n{\"name\": \"").user((*call)["name"].get_ref<const std::string&>());
    prompt.control("\", \"arguments\": ");
    prompt.user(arguments.is_string() ? arguments.get<std::string>() : to_python_json(arguments));
    prompt.control("}\n</tool_call>");
  }
}

void write_assistant(const ChatMessage& message, bool after_query, bool last, PromptBuilder& prompt) {
  const Answer answer = split_reasoning(message);
  prompt.control("<|im_start|>assistant\n");
  if (after_query && (last || !answer.reasoning.empty())) {
    prompt.control("<think>\n").user(strip_newlines(answer.reasoning, true, true)).control("\n</think>\n\n");
    prompt.user(strip_newlines(answer.content, true, false));
  } else {
    prompt.user(answer.content);
  }
  if (has_items(message.tool_calls)) write_tool_calls(message.tool_calls, !answer.content.empty(), prompt);
  prompt.control("<|im_end|>\n");
}

/// Consecutive tool results share one user turn.
void write_tool_result(const std::vector<ChatMessage>& messages, size_t i, PromptBuilder& prompt) {
  if (i == 0 || messages[i - 1].role != "tool") prompt.control("<|im_start|>user");
  prompt.control("\n<tool_response>\n").user(content_of(messages[i])).control("\n</tool_response>");
  if (i + 1 == messages.size() || messages[i + 1].role != "tool") prompt.control("<|im_end|>\n");
}

Pieces qwen3_prompt(const std::vector<ChatMessage>& messages, const ChatTemplateOptions& options, bool omni) {
  PromptBuilder prompt;
  write_system(messages[0], options.tools, prompt);
  const size_t last_query = last_query_index(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "system" && i == 0) continue;  // written above
    if (message.role == "user" || message.role == "system") {
      prompt.control("<|im_start|>" + message.role + "\n").user(content_of(message)).control("<|im_end|>\n");
    } else if (message.role == "assistant") {
      write_assistant(message, i > last_query, i + 1 == messages.size(), prompt);
    } else if (message.role == "tool") {
      write_tool_result(messages, i, prompt);
    } else {
      fail_role(message, "system, user, assistant or tool");
    }
  }
  if (options.add_generation_prompt) {
    prompt.control("<|im_start|>assistant\n");
    if (options.enable_thinking == false) prompt.control("<think>\n\n</think>\n\n");
    if (options.enable_thinking == true && !omni) prompt.control("<think>\n");
    if (omni && options.use_tts_template) prompt.control("<|tts_bos|>");
  }
  return prompt.take();
}

// ---- The plain templates ----

/// ChatML without further rules: V 2.6 (with a default system message), V 4.0, and o 2.6's speech (with a fixed start
/// of the answer).
Pieces chatml_prompt(const std::vector<ChatMessage>& messages, bool generate, bool default_system,
                     std::string_view answer_start) {
  PromptBuilder prompt;
  if (default_system && messages[0].role != "system") {
    prompt.control("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n");
  }
  for (const ChatMessage& message : messages) {
    prompt.control("<|im_start|>").user(message.role).control("\n");
    prompt.user(content_of(message)).control("<|im_end|>\n");
  }
  if (generate) prompt.control("<|im_start|>assistant\n").control(answer_start);
  return prompt.take();
}

Pieces llama3_prompt(const std::vector<ChatMessage>& messages) {
  PromptBuilder prompt;
  prompt.control("<|begin_of_text|>");
  for (const ChatMessage& message : messages) {
    prompt.control("<|start_header_id|>").user(message.role).control("<|end_header_id|>\n\n");
    prompt.user(stripped(content_of(message))).control("<|eot_id|>");
  }
  prompt.control("<|start_header_id|>assistant<|end_header_id|>\n\n");
  return prompt.take();
}

Pieces minicpm2_prompt(const std::vector<ChatMessage>& messages, bool add_image_mark) {
  PromptBuilder prompt;
  if (messages[0].role != "user") fail_role(messages[0], "user in the first message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role != "user" && message.role != "assistant") fail_role(message, "user or assistant");
    prompt.control(message.role == "user" ? "<用户>" : "<AI>");
    if (i == 0 && add_image_mark && text_of(message).find(kImageMark) == std::string::npos) prompt.control(kImageMark);
    prompt.user(content_of(message));
  }
  prompt.control("<AI>");
  return prompt.take();
}

// ---- Answers to learn ----

/// What models write as tokens in an answer, beside the reasoning marks that the templates put.
constexpr std::string_view kAnswerMarks[] = {"<ref>",   "</ref>",  "<box>",    "</box>",      "<quad>",
                                             "</quad>", "<point>", "</point>", "<tool_call>", "</tool_call>"};

void write_generated(std::string_view text, PromptBuilder& prompt) {
  while (!text.empty()) {
    size_t at = text.size();
    std::string_view mark;
    for (const std::string_view candidate : kAnswerMarks) {
      const size_t found = text.substr(0, at).find(candidate);
      if (found == std::string_view::npos) continue;
      at = found;
      mark = candidate;
    }
    prompt.user(std::string(text.substr(0, at))).control(mark);
    text.remove_prefix(at + mark.size());
  }
}

}  // namespace

bool has_tools(ChatFamily family) {
  return family == ChatFamily::kQwen3 || family == ChatFamily::kOmni45;
}

bool has_reasoning(const ChatMessage& answer) {
  return !strip_front(split_reasoning(answer).reasoning).empty();
}

std::vector<PromptPiece> answer_pieces(ChatFamily family, const ChatMessage& answer,
                                       std::optional<bool> enable_thinking) {
  PromptBuilder prompt;
  if (family == ChatFamily::kQwen3 || family == ChatFamily::kOmni45) {
    const Answer parts = split_reasoning(answer);
    if (enable_thinking == true) {
      if (family == ChatFamily::kOmni45) prompt.control("<think>\n");  // its prompt leaves it to the model
      prompt.user(std::string(strip_newlines(parts.reasoning, true, true))).control("\n</think>\n\n");
    }
    write_generated(strip_newlines(parts.content, true, false), prompt);
  } else if (family == ChatFamily::kLlama3) {
    write_generated(join(stripped(content_of(answer))), prompt);
  } else {
    write_generated(text_of(answer), prompt);
  }
  if (family == ChatFamily::kOmni26Tts) prompt.control("<|tts_eos|>");  // the prompt left its begin behind
  const std::optional<AssistantTurn> turn = assistant_turn(family);
  return prompt.control(turn ? turn->end : family == ChatFamily::kMiniCpm2 ? "</s>" : "<|im_end|>").take();
}

std::optional<AssistantTurn> assistant_turn(ChatFamily family) {
  switch (family) {
    case ChatFamily::kQwen3:
    case ChatFamily::kQwen2:
    case ChatFamily::kMiniCpm4:
    case ChatFamily::kOmni45:
      return AssistantTurn{"<|im_start|>", "assistant\n", "<|im_end|>"};
    case ChatFamily::kLlama3:
      return AssistantTurn{"<|start_header_id|>", "assistant<|end_header_id|>\n\n", "<|eot_id|>"};
    case ChatFamily::kMiniCpm2:
    case ChatFamily::kOmni26Tts:
      return std::nullopt;
  }
  fail(ErrorCode::kInternal, "internal error: unknown chat family {}", static_cast<int>(family));
}

std::vector<PromptPiece> apply_chat_template(ChatFamily family, const std::vector<ChatMessage>& messages,
                                             const ChatTemplateOptions& options) {
  if (messages.empty()) fail(ErrorCode::kInvalidRequest, "a conversation needs at least one message");
  const bool generate = options.add_generation_prompt;
  switch (family) {
    case ChatFamily::kQwen3:
      return qwen3_prompt(messages, options, false);
    case ChatFamily::kOmni45:
      return qwen3_prompt(messages, options, true);
    case ChatFamily::kQwen2:
      return chatml_prompt(messages, generate, true, "");
    case ChatFamily::kMiniCpm4:
      return chatml_prompt(messages, generate, false, "");
    case ChatFamily::kOmni26Tts:
      return chatml_prompt(messages, generate, false, "<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>");
    case ChatFamily::kLlama3:
      return llama3_prompt(messages);
    case ChatFamily::kMiniCpm2:
      return minicpm2_prompt(messages, options.add_image_mark);
  }
  fail(ErrorCode::kInternal, "internal error: unknown chat family {}", static_cast<int>(family));
}

}  // namespace minicpm
