// Prompt texts of the families, as plain code. Held against the published templates by tests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace minicpm {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", "tool"
  std::string content;  // media stand as (<image>./</image>) marks or as their expanded placeholder text
  std::optional<std::string> reasoning_content;
  Json tool_calls;  // array or null, in the OpenAI form
  std::string name;
  /// The content cut into what the user wrote and what the program put in (media placeholders, control pieces). Takes
  /// the place of `content` where it is not empty; an assistant's content is ordinary text in any case.
  std::vector<PromptPiece> content_pieces = {};
};

/// kQwen3: MiniCPM-V 4.5. kQwen2: V 2.6, with its default system message. kLlama3: Llama3-V 2.5. kMiniCpm2: V 2.0.
/// kMiniCpm4: V 4.0. kOmni26Tts: the speech template of o 2.6. kOmni45: o 4.5.
enum class ChatFamily { kQwen3, kQwen2, kLlama3, kMiniCpm2, kMiniCpm4, kOmni26Tts, kOmni45 };

struct ChatTemplateOptions {
  bool add_generation_prompt = true;    // kLlama3 and kMiniCpm2 always add it, as their published templates do
  std::optional<bool> enable_thinking;  // unset: as if the template variable were undefined
  Json tools;                           // array or null
  bool use_tts_template = false;        // omni 4.5
  bool add_image_mark = true;           // MiniCPM-V 2.0: put the mark before the first user text if it has none
};

/// The prompt cut into pieces; joined they are the rendered template. Texts of the messages are pieces of their own
/// that are not control pieces. Throws Error invalid_request: no messages, a role that the family does not have, tool
/// calls without name or arguments.
std::vector<PromptPiece> apply_chat_template(ChatFamily family, const std::vector<ChatMessage>& messages,
                                             const ChatTemplateOptions& options);

/// Whether the family's template has tools, their calls and results.
bool has_tools(ChatFamily family);

/// Whether the answer has a reasoning part that is not blank, as the family's template would see it.
bool has_reasoning(const ChatMessage& answer);

/// What a model is to generate after the prompt of the messages before `answer` (with add_generation_prompt and
/// `enable_thinking` as given): the rest of the assistant's turn up to and with the token that ends it. Here
/// <ref>, <box>, <quad>, <point> and <tool_call> with their ends are control pieces, since a model writes them as
/// tokens.
std::vector<PromptPiece> answer_pieces(ChatFamily family, const ChatMessage& answer,
                                       std::optional<bool> enable_thinking);

/// How a prompt bounds an assistant's turn: the special token `begin`, the text `header`, the answer, the token `end`.
struct AssistantTurn {
  std::string_view begin, header, end;
};
/// Absent for kMiniCpm2, whose marks are not special tokens, and for speech.
std::optional<AssistantTurn> assistant_turn(ChatFamily family);

}  // namespace minicpm
