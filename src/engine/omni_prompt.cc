#include "engine/omni_prompt.h"

#include "base/error.h"

namespace minicpm {
namespace {

ContentPart control(std::string_view text) {
  ContentPart part = ContentPart::from_text(std::string(text));
  part.control = true;
  return part;
}

/// Published sentences around the voice clip, and what the first one is without a clip.
struct RoleTexts {
  std::string_view before, behind, without_voice;
};

constexpr std::string_view kOwnVoice = "Use the <reserved_53> voice.";  // <reserved_53> is a token

RoleTexts role_texts(OmniMode mode, OmniLanguage language) {
  const bool chinese = language == OmniLanguage::kChinese;
  switch (mode) {
    case OmniMode::kOmni:
      if (chinese) {
        return {"你是一个AI助手。你能接受视频，音频和文本输入并输出语音和文本。模仿输入音频中的声音特征。",
                "作为助手，你将使用这种声音风格说话。",
                "你是一个AI助手。你能接受视频，音频和文本输入并输出语音和文本。"};
      }
      return {
          "You are a helpful assistant. You can accept video, audio and text input and output voice and text. "
          "Clone the voice in the provided audio prompt.",
          "As an assistant, you will speak using this voice style.",
          "You are a helpful assistant. You can accept video, audio and text input and output voice and text. "};
    case OmniMode::kRoleplay:
      if (chinese) return {"模仿输入音频中的声音特征。", "假装你是上述音频中的人物，与我进行对话。", kOwnVoice};
      return {"Clone the voice in the provided audio prompt.",
              "Try to role-play the character based on the audio prompt above.", kOwnVoice};
    case OmniMode::kAssistant:
      break;
  }
  if (chinese) return {"模仿输入音频中的声音特征。", "作为助手，你将使用这种声音风格说话。", kOwnVoice};
  return {"Use the voice in the audio prompt to synthesize new content.",
          "You are a helpful assistant with the above voice style.", kOwnVoice};
}

}  // namespace

OmniMode omni_mode(std::string_view name) {
  if (name == "omni") return OmniMode::kOmni;
  if (name == "assistant") return OmniMode::kAssistant;
  if (name == "roleplay") return OmniMode::kRoleplay;
  fail(ErrorCode::kInvalidRequest, "a live session in the mode \"{}\": known are omni, assistant and roleplay", name);
}

OmniLanguage omni_language(std::string_view name) {
  if (name == "en") return OmniLanguage::kEnglish;
  if (name == "zh") return OmniLanguage::kChinese;
  fail(ErrorCode::kInvalidRequest, "a live session in \"{}\": known are en and zh", name);
}

// The official demonstration sets the clip apart by line ends in its sound mode and by nothing in its video mode. Where
// the model speaks in its own voice the omni mode has no sentence behind it.
std::vector<ContentPart> role_message(const OmniRole& role) {
  const RoleTexts texts = role_texts(role.mode, role.language);
  const bool omni = role.mode == OmniMode::kOmni;
  std::vector<ContentPart> parts = {control(kTurnOpens)};
  if (role.voice != nullptr) {
    const std::string_view line = omni ? "" : "\n";
    parts.push_back(control(fmt::format("{}{}", texts.before, line)));
    ContentPart clip;
    clip.kind = ContentPart::Kind::kSound;
    clip.sound = role.voice;
    parts.push_back(std::move(clip));
    if (!line.empty()) parts.push_back(control(line));
  } else {
    parts.push_back(control(texts.without_voice));
  }
  if (!role.instruction.empty()) {
    parts.push_back(ContentPart::from_text(role.instruction));
  } else if (role.voice != nullptr || !omni) {
    parts.push_back(control(texts.behind));
  }
  parts.push_back(control("<|im_end|>\n"));
  return parts;
}

std::vector<ContentPart> unit_parts(std::shared_ptr<const Image> picture, int max_slices, std::vector<float> sound) {
  std::vector<ContentPart> parts;
  if (picture != nullptr) {
    parts.push_back(control("<unit>"));
    ContentPart part = ContentPart::from_image(std::move(picture));
    part.max_slices = max_slices;
    part.use_image_id = false;
    parts.push_back(std::move(part));
  }
  if (!sound.empty()) parts.push_back(ContentPart::from_sound(std::move(sound)));
  return parts;
}

}  // namespace minicpm
