// The published prompts of MiniCPM-o 2.6 for speech and sound: messages that set the voice of the answers, and tasks.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chat.h"

namespace minicpm {

enum class PromptLanguage { kEnglish, kChinese };
/// "en" or "zh"; empty is English. Throws Error invalid_request for others.
PromptLanguage prompt_language(std::string_view name);

/// The message that sets the voice. Between `before` and `behind` stands a clip of it.
struct VoicePrompt {
  std::string_view before, behind;  // both empty: the mode has none
};

struct AudioMode {
  std::string_view name, summary;
  VoicePrompt english, chinese;
  std::string_view english_task, chinese_task;  // what the user's message asks; empty: what the user writes
  enum class Asks {
    kAnything,   // the user's text, sounds, or both
    kText,       // the user's text, behind the task if there is one
    kSound,      // sounds behind the task
    kSoundLine,  // the same, the task in a line of its own as in the published examples of understanding
  } asks = Asks::kAnything;

  bool has_voice() const { return !english.before.empty(); }
  std::string_view task(PromptLanguage language) const {
    return language == PromptLanguage::kChinese ? chinese_task : english_task;
  }
};

std::span<const AudioMode> audio_modes();
/// Throws Error invalid_request with the known names.
const AudioMode& audio_mode(std::string_view name);

/// The first message of a conversation in the mode. `clip`: mono at 16 kHz, 5 to 15 s are best; null for the model's
/// own voice, which modes that only clone do not have: Error invalid_request.
Message voice_message(const AudioMode& mode, PromptLanguage language, const std::vector<float>* clip);

/// The user's message: task, text and media in the published order. Throws Error invalid_request where a text or a
/// sound is missing, or a text is given to a mode with a task of its own.
Message task_message(const AudioMode& mode, PromptLanguage language, const std::string& text,
                     std::vector<ContentPart> media);

/// The voice to read a text in: that of a clip as in voice_message, or one described in words, or the model's own.
struct ReadingVoice {
  const std::vector<float>* clip = nullptr;
  std::string description = {};
};
/// A request whose Engine::speaker_state is that voice, made of the published prompts for reading a text; described
/// voices have none of their own for it, so the description goes in front.
ChatRequest reading_request(const std::string& text, PromptLanguage language, const ReadingVoice& voice);

}  // namespace minicpm
