// What live sessions with MiniCPM-o 2.6 write between sound and pictures: the message that sets role and voice, and the
// marks around turns. All of them are the published texts.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chat.h"

namespace minicpm {

enum class OmniMode {
  kOmni,       // sees and hears
  kAssistant,  // hears
  kRoleplay,   // hears and plays the person of the voice clip
};
enum class OmniLanguage { kEnglish, kChinese };

/// Names as users write them: "omni", "assistant", "roleplay"; "en", "zh". Throw Error invalid_request for others.
OmniMode omni_mode(std::string_view name);
OmniLanguage omni_language(std::string_view name);

/// What the first message of a session says.
struct OmniRole {
  OmniMode mode = OmniMode::kAssistant;
  OmniLanguage language = OmniLanguage::kEnglish;
  /// Some seconds of the voice to speak in, mono at 16 kHz, at most 30 s; null: the model's own.
  std::shared_ptr<const std::vector<float>> voice;
  std::string instruction;  // in place of the published sentence behind the voice; empty: that one

  /// The same clip is the same object.
  bool operator==(const OmniRole&) const = default;
};

/// The whole first message, its marks included.
std::vector<ContentPart> role_message(const OmniRole& role);

// Marks between the parts of a session. The user's turn begins behind the first message, behind an answer that ended by
// itself, and behind one that did not.
inline constexpr std::string_view kTurnOpens = "<|im_start|>user\n";
inline constexpr std::string_view kTurnFollows = "<|im_end|>\n<|im_start|>user\n";
inline constexpr std::string_view kTurnInterrupts = "<|tts_eos|><|im_end|>\n<|im_start|>user\n";
/// Ends the user's turn, up to the token whose hidden state is the voice; and what stands between it and the answer.
inline constexpr std::string_view kAnswerOpens = "<|im_end|>\n<|im_start|>assistant\n<|spk_bos|><|spk|>";
inline constexpr std::string_view kAnswerBegins = "<|spk_eos|><|tts_bos|>";
inline constexpr std::string_view kSpeechEnds = "<|tts_eos|>";

/// A second of a session with pictures; without a picture the mark in front is missing.
std::vector<ContentPart> unit_parts(std::shared_ptr<const Image> picture, int max_slices, std::vector<float> sound);

}  // namespace minicpm
