// Prompt texts of the families, as plain code. Held against the published templates by tests.
#pragma once

#include <optional>
#include <string>
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
};

enum class ChatFamily { kQwen3, kQwen2, kLlama3, kMiniCpm2, kMiniCpm4, kOmni26Tts, kOmni45 };

struct ChatTemplateOptions {
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking;  // unset: as if the template variable were undefined
  Json tools;                           // array or null
  bool use_tts_template = false;        // omni 4.5
  bool add_image_mark = true;           // MiniCPM-V 2.0: put the mark before the first user text if it has none
};

/// The prompt cut into pieces; joined they are the rendered template.
std::vector<PromptPiece> apply_chat_template(ChatFamily family, const std::vector<ChatMessage>& messages,
                                             const ChatTemplateOptions& options);

}  // namespace minicpm
