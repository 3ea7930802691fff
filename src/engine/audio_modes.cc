#include "engine/audio_modes.h"

#include <algorithm>

#include "base/error.h"

namespace minicpm {
namespace {

using Asks = AudioMode::Asks;

constexpr std::string_view kCloneChinese = "模仿输入音频中的声音特征。";
constexpr std::string_view kTranscribeEnglish =
    "Please listen to the audio snippet carefully and transcribe the content.";
constexpr std::string_view kTranscribeChinese = "请仔细听这段音频片段，并将其内容逐字记录。";
constexpr std::string_view kRead = "Please read the text below.";
constexpr std::string_view kMimick = "Please repeat each user's speech, including voice style and speech content.";
constexpr std::string_view kSpeaker =
    "Based on the speaker's content, speculate on their gender, condition, age range, and health status.";
constexpr std::string_view kCaption = "Summarize the main content of the audio.";
constexpr std::string_view kScene = "Utilize one keyword to convey the audio's content or the associated scene.";

// Where only one language is published, both have it.
constexpr AudioMode kModes[] = {
    {.name = "audio-assistant",
     .summary = "answers in the voice of a clip",
     .english = {"Use the voice in the audio prompt to synthesize new content.",
                 "You are a helpful assistant with the above voice style."},
     .chinese = {kCloneChinese, "作为助手，你将使用这种声音风格说话。"}},
    {.name = "role-play",
     .summary = "answers as the person of the clip",
     .english = {"Clone the voice in the provided audio prompt.",
                 "Try to role-play the character based on the audio prompt above."},
     .chinese = {kCloneChinese, "假装你是上述音频中的人物，与我进行对话。"}},
    {.name = "voice-clone",
     .summary = "reads a text in the voice of the clip",
     .english = {"Clone the voice in the provided audio prompt.", ""},
     .chinese = {kCloneChinese, ""},
     .english_task = kRead,
     .chinese_task = kRead,
     .asks = Asks::kText},
    {.name = "instruct", .summary = "speaks as the text asks for", .asks = Asks::kText},
    {.name = "mimick",
     .summary = "repeats what is said, and how",
     .english_task = kMimick,
     .chinese_task = kMimick,
     .asks = Asks::kSound},
    {.name = "asr",
     .summary = "writes down what is said",
     .english_task = kTranscribeEnglish,
     .chinese_task = kTranscribeChinese,
     .asks = Asks::kSoundLine},
    {.name = "translate",
     .summary = "writes down in --language what is said in the other language",
     .english_task = kTranscribeEnglish,
     .chinese_task = kTranscribeChinese,
     .asks = Asks::kSoundLine},
    {.name = "speaker",
     .summary = "describes who speaks",
     .english_task = kSpeaker,
     .chinese_task = kSpeaker,
     .asks = Asks::kSoundLine},
    {.name = "caption",
     .summary = "summarises a sound",
     .english_task = kCaption,
     .chinese_task = kCaption,
     .asks = Asks::kSoundLine},
    {.name = "scene",
     .summary = "names a sound or its scene in a word",
     .english_task = kScene,
     .chinese_task = kScene,
     .asks = Asks::kSoundLine},
};

bool is_sound(const ContentPart& part) {
  return part.kind == ContentPart::Kind::kSound;
}

}  // namespace

PromptLanguage prompt_language(std::string_view name) {
  if (name.empty() || name == "en") return PromptLanguage::kEnglish;
  if (name == "zh") return PromptLanguage::kChinese;
  fail(ErrorCode::kInvalidRequest, "prompts in \"{}\": known are en and zh", name);
}

std::span<const AudioMode> audio_modes() {
  return kModes;
}

const AudioMode& audio_mode(std::string_view name) {
  std::string known;
  for (const AudioMode& mode : kModes) {
    if (mode.name == name) return mode;
    known += (known.empty() ? "" : ", ") + std::string(mode.name);
  }
  fail(ErrorCode::kInvalidRequest, "there is no mode \"{}\"; known are {}", name, known);
}

Message voice_message(const AudioMode& mode, PromptLanguage language, const std::vector<float>* clip) {
  const VoicePrompt& prompt = language == PromptLanguage::kChinese ? mode.chinese : mode.english;
  if (!mode.has_voice()) fail(ErrorCode::kInvalidRequest, "the mode {} takes no voice", mode.name);
  Message message{"user", {}};
  if (clip != nullptr) {
    message.content.push_back(ContentPart::from_text(std::string(prompt.before)));
    message.content.push_back(ContentPart::from_sound(*clip));
    if (!prompt.behind.empty()) message.content.push_back(ContentPart::from_text(std::string(prompt.behind)));
    return message;
  }
  if (prompt.behind.empty()) fail(ErrorCode::kInvalidRequest, "the mode {} needs a clip of the voice", mode.name);
  ContentPart own = ContentPart::from_text("Use the <reserved_53> voice." + std::string(prompt.behind));
  own.control = true;  // <reserved_53> is a token
  message.content.push_back(std::move(own));
  return message;
}

Message task_message(const AudioMode& mode, PromptLanguage language, const std::string& text,
                     std::vector<ContentPart> media) {
  const bool heard = std::ranges::any_of(media, is_sound);
  const bool takes_text = mode.asks == Asks::kAnything || mode.asks == Asks::kText;
  if (mode.asks == Asks::kText && text.empty()) fail(ErrorCode::kInvalidRequest, "the mode {} needs a text", mode.name);
  if (!takes_text && !heard) fail(ErrorCode::kInvalidRequest, "the mode {} needs a sound", mode.name);
  if (!takes_text && !text.empty()) {
    fail(ErrorCode::kInvalidRequest, "the mode {} asks its own question; it takes no text", mode.name);
  }
  if (text.empty() && media.empty()) fail(ErrorCode::kInvalidRequest, "the mode {} needs a text or a sound", mode.name);
  std::ranges::stable_partition(media, [](const ContentPart& part) { return !is_sound(part); });
  const auto sounds = std::ranges::find_if(media, is_sound);
  std::vector<ContentPart> texts;
  if (const std::string_view task = mode.task(language); !task.empty()) {
    texts.push_back(ContentPart::from_text(std::string(task) + (mode.asks == Asks::kSoundLine ? "\n" : "")));
  }
  if (!text.empty()) texts.push_back(ContentPart::from_text(text));
  Message message{"user", {}};
  message.content.insert(message.content.end(), media.begin(), sounds);
  message.content.insert(message.content.end(), texts.begin(), texts.end());
  message.content.insert(message.content.end(), sounds, media.end());
  return message;
}

ChatRequest reading_request(const std::string& text, PromptLanguage language, const ReadingVoice& voice) {
  const AudioMode& clone = audio_mode("voice-clone");
  ChatRequest request;
  request.speech = true;
  Message reading = task_message(clone, language, text, {});
  if (!voice.description.empty()) {
    reading.content.insert(reading.content.begin(), ContentPart::from_text(voice.description));
  } else {
    const AudioMode& mode = voice.clip != nullptr ? clone : audio_mode("audio-assistant");
    request.messages.push_back(voice_message(mode, language, voice.clip));
  }
  request.messages.push_back(std::move(reading));
  return request;
}

}  // namespace minicpm
