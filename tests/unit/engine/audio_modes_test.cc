// The published prompts, letter by letter.
#include "engine/audio_modes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

constexpr auto kEnglish = PromptLanguage::kEnglish;
constexpr auto kChinese = PromptLanguage::kChinese;

/// Texts with [AUDIO] and [IMAGE] in place of media, parts joined as the template joins them.
std::string text_of(const Message& message) {
  std::string text;
  for (const ContentPart& part : message.content) {
    if (&part != &message.content.front()) text += "\n";
    text += part.kind == ContentPart::Kind::kSound   ? "[AUDIO]"
            : part.kind == ContentPart::Kind::kImage ? "[IMAGE]"
                                                     : part.text;
  }
  return text;
}

std::string voice(std::string_view mode, PromptLanguage language) {
  const std::vector<float> clip(16000);
  const Message message = voice_message(audio_mode(mode), language, &clip);
  EXPECT_EQ(message.role, "user");
  return text_of(message);
}

std::string own_voice(std::string_view mode, PromptLanguage language) {
  const Message message = voice_message(audio_mode(mode), language, nullptr);
  EXPECT_EQ(message.content.size(), 1u);
  EXPECT_TRUE(message.content.at(0).control);
  return text_of(message);
}

TEST(AudioModes, VoiceMessages) {
  EXPECT_EQ(voice("audio-assistant", kEnglish),
            "Use the voice in the audio prompt to synthesize new content.\n[AUDIO]\n"
            "You are a helpful assistant with the above voice style.");
  EXPECT_EQ(voice("audio-assistant", kChinese),
            "模仿输入音频中的声音特征。\n[AUDIO]\n作为助手，你将使用这种声音风格说话。");
  EXPECT_EQ(voice("role-play", kEnglish),
            "Clone the voice in the provided audio prompt.\n[AUDIO]\n"
            "Try to role-play the character based on the audio prompt above.");
  EXPECT_EQ(voice("role-play", kChinese),
            "模仿输入音频中的声音特征。\n[AUDIO]\n假装你是上述音频中的人物，与我进行对话。");
  EXPECT_EQ(voice("voice-clone", kEnglish), "Clone the voice in the provided audio prompt.\n[AUDIO]");
  EXPECT_EQ(voice("voice-clone", kChinese), "模仿输入音频中的声音特征。\n[AUDIO]");
  EXPECT_EQ(own_voice("audio-assistant", kEnglish),
            "Use the <reserved_53> voice.You are a helpful assistant with the above voice style.");
  EXPECT_EQ(own_voice("audio-assistant", kChinese), "Use the <reserved_53> voice.作为助手，你将使用这种声音风格说话。");
  EXPECT_EQ(own_voice("role-play", kEnglish),
            "Use the <reserved_53> voice.Try to role-play the character based on the audio prompt above.");
}

std::vector<ContentPart> media() {
  return {ContentPart::from_sound(std::vector<float>(100)), ContentPart::from_image(nullptr)};
}

TEST(AudioModes, Tasks) {
  const auto task = [](std::string_view mode, PromptLanguage language) {
    std::vector<ContentPart> sound;
    sound.push_back(ContentPart::from_sound(std::vector<float>(100)));
    return text_of(task_message(audio_mode(mode), language, "", std::move(sound)));
  };
  EXPECT_EQ(task("mimick", kEnglish),
            "Please repeat each user's speech, including voice style and speech content.\n[AUDIO]");
  EXPECT_EQ(task("asr", kEnglish),
            "Please listen to the audio snippet carefully and transcribe the content.\n\n[AUDIO]");
  EXPECT_EQ(task("asr", kChinese), "请仔细听这段音频片段，并将其内容逐字记录。\n\n[AUDIO]");
  EXPECT_EQ(task("translate", kChinese), "请仔细听这段音频片段，并将其内容逐字记录。\n\n[AUDIO]");
  EXPECT_EQ(task("speaker", kEnglish),
            "Based on the speaker's content, speculate on their gender, condition, age range, and health "
            "status.\n\n[AUDIO]");
  EXPECT_EQ(task("caption", kEnglish), "Summarize the main content of the audio.\n\n[AUDIO]");
  EXPECT_EQ(task("scene", kEnglish),
            "Utilize one keyword to convey the audio's content or the associated scene.\n\n[AUDIO]");
  EXPECT_EQ(task("audio-assistant", kEnglish), "[AUDIO]");
  EXPECT_EQ(text_of(task_message(audio_mode("voice-clone"), kEnglish, "Hello.", {})),
            "Please read the text below.\nHello.");
  EXPECT_EQ(text_of(task_message(audio_mode("instruct"), kEnglish, "Speak slowly.", {})), "Speak slowly.");
  EXPECT_EQ(text_of(task_message(audio_mode("role-play"), kEnglish, "Who is it?", media())),
            "[IMAGE]\nWho is it?\n[AUDIO]");
}

template <typename Fn>
std::string refusal(Fn&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
    return error.what();
  }
  return "";
}

TEST(AudioModes, SayWhatIsMissing) {
  EXPECT_THAT(refusal([] { audio_mode("opera"); }), HasSubstr("\"opera\"; known are audio-assistant, role-play"));
  EXPECT_THAT(refusal([] { prompt_language("fr"); }), HasSubstr("\"fr\""));
  EXPECT_THAT(refusal([] { voice_message(audio_mode("voice-clone"), kEnglish, nullptr); }), HasSubstr("needs a clip"));
  EXPECT_THAT(refusal([] { voice_message(audio_mode("asr"), kEnglish, nullptr); }), HasSubstr("takes no voice"));
  EXPECT_THAT(refusal([] { task_message(audio_mode("asr"), kEnglish, "", {}); }), HasSubstr("needs a sound"));
  EXPECT_THAT(refusal([] { task_message(audio_mode("asr"), kEnglish, "What?", media()); }), HasSubstr("takes no text"));
  EXPECT_THAT(refusal([] { task_message(audio_mode("instruct"), kEnglish, "", {}); }), HasSubstr("needs a text"));
  EXPECT_THAT(refusal([] { task_message(audio_mode("role-play"), kEnglish, "", {}); }), HasSubstr("a text or a sound"));
}

}  // namespace
}  // namespace minicpm
