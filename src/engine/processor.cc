#include "engine/processor.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "media/slicing.h"
#include "models/vision_prompt.h"

namespace minicpm {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::kInvalidRequest, why);
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

bool has_content(const Message& message) {
  return std::ranges::any_of(message.content, [](const ContentPart& part) {
    return part.kind != ContentPart::Kind::kText || !is_blank(part.text);
  });
}

void check_role(const Message& message, size_t index, const VersionRow& version) {
  const bool plain = message.role == "user" || message.role == "assistant" || message.role == "system";
  const bool of_tools = message.role == "tool" || message.tool_calls.is_array();
  if (!plain && message.role != "tool") {
    refuse(fmt::format("message {} has the role \"{}\"; known are system, user, assistant and tool", index + 1,
                       message.role));
  }
  if (of_tools && !has_tools(version.chat)) refuse(fmt::format("{} cannot call tools", version.title));
  if (message.role == "system" && index > 0) refuse("a system message must be the first one");
}

void check(const ChatRequest& request, const VersionRow& version) {
  if (request.messages.empty()) refuse("the request has no message");
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    check_role(message, i, version);
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::kSound && part.sound == nullptr) refuse("a sound part without a sound");
      if (!part.is_visual()) continue;
      if (!version.vision)
        refuse(fmt::format("{} cannot see pictures; a GGUF model needs its mmproj file", version.title));
      if (part.images.empty()) refuse("a picture part without a picture");
      if (part.kind == ContentPart::Kind::kFrames && part.frame_ids.size() != part.images.size() &&
          (version.temporal || !part.frame_ids.empty())) {
        refuse(fmt::format("{} frames with {} time ids", part.images.size(), part.frame_ids.size()));
      }
      if (part.kind == ContentPart::Kind::kFrames && part.images.size() > 1 && !version.temporal) {
        refuse(fmt::format("{} cannot take several frames as one pack", version.title));
      }
    }
  }
  const Message& last = request.messages.back();
  if (last.role != "user" && last.role != "tool") refuse("the last message must be the user's, or a tool's");
  if (last.role == "user" && !has_content(last)) refuse("the prompt is empty");
  if (request.tools && !has_tools(version.chat)) refuse(fmt::format("{} cannot call tools", version.title));
  if (request.speech && !version.sound) refuse(fmt::format("{} does not speak", version.title));
  if (request.thinking && !version.thinking) refuse(fmt::format("{} has no thinking mode", version.title));
}

/// An answer's text, its parts joined as in a prompt.
std::string text_of(const Message& message) {
  std::string text;
  for (const ContentPart& part : message.content) {
    if (part.kind != ContentPart::Kind::kText) refuse("an answer to learn cannot hold a picture");
    if (&part != &message.content.front()) text += '\n';
    text += part.text;
  }
  return text;
}

/// A text that occurs in no message, to stand for pictures and the like while the template is applied. A user who types
/// the mark itself must not get one for it.
std::string unused_mark(const ChatRequest& request) {
  std::string mark = "\x01part\x01";
  const auto occurs = [&] {
    for (const Message& message : request.messages) {
      if (message.reasoning && message.reasoning->find(mark) != std::string::npos) return true;
      const Json values = message.tool_calls.flatten();
      for (const Json& value : values) {
        if (value.is_string() && value.get_ref<const std::string&>().find(mark) != std::string::npos) return true;
      }
      for (const ContentPart& part : message.content) {
        if (part.text.find(mark) != std::string::npos) return true;
      }
    }
    return false;
  };
  while (occurs())
    mark += '\x01';
  return mark;
}

/// Splits text pieces at the stand-in and puts control pieces with the texts of `next` there.
std::vector<PromptPiece> replace_marks(const std::vector<PromptPiece>& pieces, const std::string& mark,
                                       const std::function<std::string()>& next) {
  std::vector<PromptPiece> result;
  const auto append = [&](std::string text, bool control) {
    if (!text.empty()) result.push_back({std::move(text), control});
  };
  for (const PromptPiece& piece : pieces) {
    size_t from = 0;
    for (size_t at; (at = piece.text.find(mark, from)) != std::string::npos; from = at + mark.size()) {
      append(piece.text.substr(from, at - from), piece.control);
      append(next(), true);
    }
    append(piece.text.substr(from), piece.control);
  }
  return result;
}

constexpr std::string_view kSoundStart = "<|audio_start|>", kSoundEnd = "<|audio_end|>";

std::string sound_placeholder(std::span<const int64_t> spans) {
  std::string text;
  for (const int64_t rows : spans) {
    text += kSoundStart;
    for (int64_t i = 0; i < rows; ++i)
      text += "<unk>";
    text += kSoundEnd;
  }
  return text;
}

bool has_sound(const Message& message) {
  return std::ranges::any_of(message.content,
                             [](const ContentPart& part) { return part.kind == ContentPart::Kind::kSound; });
}

}  // namespace

Processor::Processor(const ModelConfig& config, const Tokenizer& tokenizer) : config_(&config), tokenizer_(&tokenizer) {
  if (config.has_audio()) mel_.emplace(config.audio->mel_bins);
}

SliceConfig Processor::slice_config(std::optional<int> max_slices) const {
  SliceConfig slices = config_->slices;
  slices.max_slice_nums = max_slices.value_or(slices.max_slice_nums);
  return slices;
}

std::shared_ptr<MediaItem> Processor::make_item(const ContentPart& part, const SliceConfig& config) const {
  auto item = std::make_shared<MediaItem>();
  std::vector<std::vector<Patches>> frames;
  for (const auto& image : part.images)
    frames.push_back(make_patches(slice_image(*image, config), config));
  const size_t slices = frames.front().size();
  for (size_t f = 1; f < frames.size(); ++f) {
    if (frames[f].size() < slices) {
      refuse(fmt::format("frame {} of a pack has {} slices, its first frame {}", f + 1, frames[f].size(), slices));
    }
  }
  // Slice g of all frames shares one block of queries.
  for (size_t g = 0; g < slices; ++g) {
    ResamplerGroup group;
    for (size_t f = 0; f < frames.size(); ++f) {
      Patches& patches = frames[f][g];
      group.slices.push_back({patches.h, patches.w});
      const bool timed = part.kind == ContentPart::Kind::kFrames && config_->version->temporal;
      if (timed) group.frame_ids.push_back(part.frame_ids[f]);
      item->slices.push_back(std::move(patches));
    }
    item->groups.push_back(std::move(group));
  }
  return item;
}

/// Rows of each place that a sound has in the prompt.
std::vector<int64_t> Processor::sound_spans(const ContentPart& part) const {
  if (!config_->has_audio()) {
    refuse(fmt::format("{} cannot hear sound{}", config_->version->title,
                       config_->version->sound
                           ? ": neither its files nor the projector beside a GGUF file hold the sound encoder"
                           : ""));
  }
  const AudioConfig& audio = *config_->audio;
  const auto samples = static_cast<int64_t>(part.sound->size());
  int64_t rows = audio.rows_of_samples(samples);
  if (rows == 0) refuse(fmt::format("a sound of {} samples is too short to be heard", samples));
  std::vector<int64_t> spans;
  const int64_t most = audio.chunk_input ? audio.rows_of_mark() : rows;
  for (; rows > 0; rows -= most)
    spans.push_back(std::min(rows, most));
  return spans;
}

/// The sounds of a message are heard as one, as the official code joins them, unless that gives fewer rows than they
/// have places.
std::shared_ptr<MediaItem> Processor::make_sound_item(const Message& message) const {
  auto item = std::make_shared<MediaItem>();
  std::vector<float> joined;
  std::vector<const std::vector<float>*> sounds;
  int64_t places = 0;
  for (const ContentPart& part : message.content) {
    if (part.kind != ContentPart::Kind::kSound) continue;
    const std::vector<int64_t> spans = sound_spans(part);
    item->span_rows.insert(item->span_rows.end(), spans.begin(), spans.end());
    places = std::accumulate(spans.begin(), spans.end(), places);
    joined.insert(joined.end(), part.sound->begin(), part.sound->end());
    sounds.push_back(part.sound.get());
  }
  if (config_->audio->rows_of_samples(static_cast<int64_t>(joined.size())) >= places) sounds = {&joined};
  for (const std::vector<float>* sound : sounds) {
    for (std::span<const float> rest(*sound); !rest.empty();) {
      const auto piece = rest.first(std::min<size_t>(rest.size(), kMaxMelSamples));
      item->sounds.push_back(mel_->extract(piece));
      rest = rest.subspan(piece.size());
    }
  }
  return item;
}

/// The template's pieces with a mark for each picture, sounds by their placeholders, and what the program itself put
/// into messages.
std::vector<PromptPiece> Processor::render(const ChatRequest& request) const {
  const std::string mark = unused_mark(request);
  std::vector<std::string> marked;  // what stands for each mark, in reading order
  bool speech = request.speech;     // a conversation with sound has the speech template, whatever comes out
  std::vector<ChatMessage> messages;
  for (const Message& message : request.messages) {
    ChatMessage rendered;
    rendered.role = message.role;
    rendered.reasoning_content = message.reasoning;
    rendered.tool_calls = message.tool_calls;
    const auto append_marked = [&](std::string text) {
      rendered.content += mark;
      marked.push_back(std::move(text));
    };
    bool first = true;
    for (const ContentPart& part : message.content) {
      if (!first) rendered.content += '\n';
      first = false;
      if (part.kind == ContentPart::Kind::kSound) {
        append_marked(sound_placeholder(sound_spans(part)));
        speech = true;
      } else if (part.is_visual()) {
        for (size_t i = 0; i < part.images.size(); ++i) {
          if (i > 0) rendered.content += '\n';
          append_marked(std::string(kPictureMark));
        }
      } else if (part.control) {
        append_marked(part.text);
      } else {
        rendered.content += part.text;
      }
    }
    messages.push_back(std::move(rendered));
  }
  ChatTemplateOptions options;
  if (config_->version->thinking) options.enable_thinking = request.thinking;
  if (request.tools) options.tools = request.tools->tools;
  const ChatFamily family = speech ? ChatFamily::kOmni26Tts : config_->version->chat;
  size_t next = 0;
  return replace_marks(apply_chat_template(family, messages, options), mark, [&] { return marked.at(next++); });
}

PreparedPrompt Processor::prepare_tokens(const std::vector<int32_t>& tokens) const {
  if (tokens.empty()) refuse("the prompt is empty");
  for (const int32_t id : tokens) {
    if (id < 0 || id >= config_->decoder.vocab_size) {
      refuse(fmt::format("the prompt has the token {}; the vocabulary has {}", id, config_->decoder.vocab_size));
    }
  }
  PreparedPrompt prompt;
  prompt.input.tokens = tokens;
  prompt.usage.prompt_tokens = static_cast<int64_t>(tokens.size());
  return prompt;
}

PreparedPrompt Processor::prepare(const ChatRequest& request) const {
  return prepare(request, {});
}

PreparedPrompt Processor::prepare(const ChatRequest& request,
                                  std::span<const std::shared_ptr<const MediaItem>> known) const {
  if (request.prompt_tokens) return prepare_tokens(*request.prompt_tokens);
  const VersionRow& version = *config_->version;
  check(request, version);

  PreparedPrompt prompt;
  std::vector<std::shared_ptr<MediaItem>> items;
  std::vector<MediaGroup> groups;
  for (const Message& message : request.messages) {
    bool heard = false;
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::kSound && !std::exchange(heard, true)) {
        items.push_back(make_sound_item(message));
        for (const int64_t rows : items.back()->span_rows)
          prompt.usage.audio_tokens += rows;
      }
      if (!part.is_visual()) continue;
      const Image& first = *part.images.front();
      const SliceConfig slices = slice_config(part.max_slices ? part.max_slices : request.max_slices);
      groups.push_back({static_cast<int>(part.images.size()), plan_slices({first.width, first.height}, slices).grid,
                        part.use_image_id});
      if (known.empty()) {
        items.push_back(make_item(part, slices));
      } else {
        if (items.size() == known.size()) fail(ErrorCode::kInternal, "more pictures than were prepared before");
        items.push_back(std::make_shared<MediaItem>(*known[items.size()]));
        items.back()->spans.clear();
        items.back()->span_rows.clear();
      }
      const bool video = part.kind == ContentPart::Kind::kFrames;
      (video ? prompt.usage.frames : prompt.usage.images) += static_cast<int64_t>(part.images.size());
      prompt.usage.slices += static_cast<int64_t>(items.back()->slices.size());
    }
  }

  std::vector<PromptPiece> pieces = render(request);
  if (!groups.empty()) {
    PlaceholderConfig config;
    config.layout = version.layout;
    config.queries_per_slice = static_cast<int>(config_->resampler->query_num);
    config.use_image_id = request.use_image_id.value_or(config_->use_image_id);
    pieces = expand_image_marks(pieces, groups, config);
  }
  prompt.input.tokens = tokenizer_->encode(pieces);
  if (prompt.input.tokens.empty()) refuse("the prompt is empty");
  find_spans(prompt.input.tokens, items);
  for (auto& item : items) {
    if (!item->is_sound())
      prompt.usage.image_tokens += static_cast<int64_t>(item->groups.size()) * config_->resampler->query_num;
    prompt.input.media.push_back(std::move(item));
  }
  prompt.usage.prompt_tokens = static_cast<int64_t>(prompt.input.tokens.size());
  return prompt;
}

PromptPiece Processor::prepare_part(const ContentPart& part, std::vector<std::shared_ptr<MediaItem>>& items) const {
  const VersionRow& version = *config_->version;
  if (part.kind == ContentPart::Kind::kText) return {part.text, part.control};
  if (part.kind == ContentPart::Kind::kSound) {
    if (part.sound == nullptr) refuse("a sound part without a sound");
    auto item = std::make_shared<MediaItem>();
    item->span_rows = sound_spans(part);
    item->sounds.push_back(mel_->extract(*part.sound));
    items.push_back(std::move(item));
    return {sound_placeholder(items.back()->span_rows), true};
  }
  if (!version.vision) refuse(fmt::format("{} cannot see pictures", version.title));
  if (part.images.size() != 1) refuse("a piece takes its pictures one by one");
  const Image& image = *part.images.front();
  const SliceConfig slices = slice_config(part.max_slices);
  items.push_back(make_item(part, slices));
  PlaceholderConfig config;
  config.layout = version.layout;
  config.queries_per_slice = static_cast<int>(config_->resampler->query_num);
  config.use_image_id = part.use_image_id.value_or(false);
  return {image_placeholder(config, 0, plan_slices({image.width, image.height}, slices).grid), true};
}

ModelInput Processor::prepare_piece(std::span<const ContentPart> parts) const {
  std::vector<std::shared_ptr<MediaItem>> items;
  std::vector<PromptPiece> pieces;
  for (const ContentPart& part : parts)
    pieces.push_back(prepare_part(part, items));
  ModelInput piece;
  piece.tokens = tokenizer_->encode(pieces);
  find_spans(piece.tokens, items);
  for (auto& item : items)
    piece.media.push_back(std::move(item));
  return piece;
}

TrainingPrompt Processor::prepare_training(std::span<const Message> messages,
                                           const TrainingPromptOptions& options) const {
  if (messages.empty() || messages.back().role != "assistant") {
    refuse("there is nothing to learn: the last message must be the assistant's");
  }
  const std::optional<AssistantTurn> turn = assistant_turn(config_->version->chat);
  if (!turn) {
    fail(ErrorCode::kUnsupported, "{}: training with its chat template is not supported", config_->version->title);
  }
  const bool speech = std::ranges::any_of(messages, has_sound);
  ChatMessage answer;
  answer.role = "assistant";
  answer.content = text_of(messages.back());
  ChatRequest request;
  request.messages.assign(messages.begin(), messages.end() - 1);
  request.thinking = config_->version->thinking && has_reasoning(answer);
  request.max_slices = options.max_slices;
  request.use_image_id = options.use_image_id;
  PreparedPrompt prompt = prepare(request, options.media);

  std::optional<bool> enable_thinking;
  if (config_->version->thinking) enable_thinking = request.thinking;
  const ChatFamily family = speech ? ChatFamily::kOmni26Tts : config_->version->chat;
  const std::vector<PromptPiece> pieces = answer_pieces(family, answer, enable_thinking);
  const std::string text = join(pieces);
  const size_t end = join(answer_pieces(family, {.role = "assistant"}, false)).size();
  if (is_blank(std::string_view(text).substr(0, text.size() - std::min(end, text.size())))) {
    refuse("the last answer is empty");
  }

  TrainingPrompt result{std::move(prompt.input), 0, {}, prompt.usage};
  std::vector<int32_t>& tokens = result.input.tokens;
  result.prompt_tokens = static_cast<int64_t>(tokens.size());
  result.learned = history_to_learn(request.messages, tokens);
  const std::vector<int32_t> answer_tokens = tokenizer_->encode(pieces);
  tokens.insert(tokens.end(), answer_tokens.begin(), answer_tokens.end());
  result.learned.resize(tokens.size(), true);
  result.usage.completion_tokens = static_cast<int64_t>(answer_tokens.size());
  return result;
}

// The special tokens around a turn can only have been put there by the program; no merge crosses them. A token that
// begins inside the header is not learned.
std::vector<bool> Processor::history_to_learn(std::span<const Message> history, std::span<const int32_t> tokens) const {
  std::vector<bool> answers;  // whether to learn each
  for (const Message& message : history) {
    if (message.role != "assistant") continue;
    std::string text = text_of(message);
    if (const size_t at = text.rfind("</think>"); config_->version->thinking && at != std::string::npos) {
      text.erase(0, at + std::string_view("</think>").size());
    }
    const bool has_mark = std::ranges::any_of(tokenizer_->added_tokens(), [&](const AddedToken& token) {
      return text.find(token.text) != std::string::npos;
    });
    answers.push_back(!has_mark);
  }
  std::vector<bool> learned(tokens.size());
  if (answers.empty()) return learned;

  const AssistantTurn turn = *assistant_turn(config_->version->chat);
  const int32_t begin = special_id(turn.begin), end = special_id(turn.end);
  size_t found = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] != begin) continue;
    std::string header;
    size_t first = i + 1;
    while (first < tokens.size() && header.size() < turn.header.size())
      header += tokenizer_->token_bytes(tokens[first++]);
    const size_t last =
        std::ranges::find(tokens.begin() + static_cast<ptrdiff_t>(i), tokens.end(), end) - tokens.begin();
    if (!header.starts_with(turn.header) || last == tokens.size()) continue;  // another role, or the answer to come
    if (found < answers.size() && answers[found]) {
      std::fill(learned.begin() + static_cast<ptrdiff_t>(first), learned.begin() + static_cast<ptrdiff_t>(last) + 1,
                true);
    }
    ++found;
  }
  if (found != answers.size()) {
    fail(ErrorCode::kUnsupported, "{}: {} of {} answers can be told apart in the prompt's tokens", config_->source,
         found, answers.size());
  }
  return learned;
}

int32_t Processor::special_id(std::string_view text) const {
  const auto found = tokenizer_->token_id(text);
  if (!found) fail(ErrorCode::kBadFile, "{}: the tokenizer has no token {}", config_->source, text);
  return *found;
}

// A span lies between two marks; only the program itself can have put their ids there, since the same strings typed by
// a user stay text.
void Processor::find_spans(const std::vector<int32_t>& tokens, std::vector<std::shared_ptr<MediaItem>>& items) const {
  struct Marks {
    int32_t start, end;
    bool sound;
  };
  const auto is_sound = [](const auto& item) { return item->is_sound(); };
  std::vector<Marks> marks;
  if (std::ranges::any_of(items, is_sound)) marks.push_back({special_id(kSoundStart), special_id(kSoundEnd), true});
  if (!std::ranges::all_of(items, is_sound)) {
    marks.push_back({special_id("<image>"), special_id("</image>"), false});
    marks.push_back({special_id("<slice>"), special_id("</slice>"), false});
  }
  struct Span {
    int64_t first, rows;
  };
  std::vector<Span> spans[2];  // of pictures, of sounds
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (const Marks& mark : marks) {
      if (tokens[i] != mark.start) continue;
      const auto end = std::find(tokens.begin() + static_cast<ptrdiff_t>(i), tokens.end(), mark.end) - tokens.begin();
      spans[mark.sound].push_back({static_cast<int64_t>(i) + 1, end - static_cast<int64_t>(i) - 1});
    }
  }
  size_t next[2] = {};
  for (const auto& item : items) {
    const bool sound = item->is_sound();
    const size_t count = sound ? item->span_rows.size() : item->groups.size();
    for (size_t g = 0; g < count; ++g) {
      const int64_t expected = sound ? item->span_rows[g] : config_->resampler->query_num;
      if (next[sound] == spans[sound].size()) fail(ErrorCode::kInternal, "the prompt has fewer places than media");
      const Span span = spans[sound][next[sound]++];
      if (span.rows != expected) {
        fail(ErrorCode::kBadFile, "{}: the tokenizer does not map {} placeholders to {} ids", config_->source, expected,
             expected);
      }
      item->spans.push_back(span.first);
      if (!sound) item->span_rows.push_back(span.rows);
    }
  }
  if (next[0] != spans[0].size() || next[1] != spans[1].size()) {
    fail(ErrorCode::kInternal, "the prompt has more places than media");
  }
}

}  // namespace minicpm
