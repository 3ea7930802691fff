#include "train/sample_json.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr std::string_view kPictureMarkText = "<image>";
constexpr std::string_view kVideoMarkText = "<video>";
constexpr std::string_view kSoundMarkText = "<audio>";

using Kind = MediaReference::Kind;

/// A message before its marks are resolved.
struct RawMessage {
  std::string role;
  Json content;
};

template <typename... Args>
[[noreturn]] void refuse(const std::string& origin, fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::kBadFile, "{}: {}", origin, fmt::format(format, std::forward<Args>(args)...));
}

/// The beginning of a text of unknown length, for messages.
std::string shown(std::string_view text) {
  constexpr size_t kMost = 60;
  return text.size() <= kMost ? std::string(text) : std::string(text.substr(0, kMost)) + "...";
}

bool has_items(const Json* value) {
  return value != nullptr && !((value->is_array() || value->is_object() || value->is_string()) && value->empty()) &&
         !(value->is_string() && value->get_ref<const std::string&>().empty());
}

std::string_view trimmed(std::string_view text, bool front, bool back) {
  constexpr std::string_view kBlanks = " \t\r\n";
  if (front) text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  if (back) text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
  return text;
}

/// The media of a record, handed out in order or by name.
class Media {
 public:
  Media(const JsonObject& record) : origin_(record.source()) {
    read_pictures(record);
    add_list(record.find("videos"), "videos", videos_);
    add_list(record.find("video"), "video", videos_);
    add_list(record.find("audios"), "audios", sounds_);
    add_list(record.find("audio"), "audio", sounds_);
  }

  /// The first mark in `text` at or after `from`; its length is 0 if there is none.
  std::pair<size_t, size_t> find_mark(std::string_view text, size_t from) const {
    std::pair<size_t, size_t> best{text.size(), 0};
    const auto consider = [&](std::string_view mark) {
      const size_t at = text.find(mark, from);
      if (at < best.first) best = {at, mark.size()};
    };
    consider(kPictureMarkText);
    if (!videos_.empty()) consider(kVideoMarkText);  // else it is a word of HTML
    if (!sounds_.empty()) consider(kSoundMarkText);  // likewise
    for (const auto& [name, source] : named_)
      consider(name);
    return best;
  }

  MediaReference take(std::string_view mark) {
    ++marks_;
    if (mark == kVideoMarkText) return take_next(Kind::kVideo, videos_, next_video_, mark);
    if (mark == kSoundMarkText) return take_next(Kind::kSound, sounds_, next_sound_, mark);
    if (mark == kPictureMarkText) return take_next(Kind::kPicture, pictures_, next_picture_, mark);
    const auto named = std::ranges::find(named_, mark, &std::pair<std::string, Json>::first);
    used_[static_cast<size_t>(named - named_.begin())] = true;
    return {Kind::kPicture, named->second};
  }

  /// The next picture, video or sound without a mark of its own, for parts that only say their kind.
  MediaReference take_next(Kind kind) {
    ++marks_;
    if (kind == Kind::kVideo) return take_next(kind, videos_, next_video_, "part of type video");
    if (kind == Kind::kSound) return take_next(kind, sounds_, next_sound_, "part of type audio");
    return take_next(kind, pictures_, next_picture_, "part of type image");
  }

  /// All media, for a record without marks.
  std::vector<MediaReference> take_all() {
    std::vector<MediaReference> all;
    for (const auto& [name, source] : named_)
      all.push_back({Kind::kPicture, source});
    for (const Json& source : pictures_)
      all.push_back({Kind::kPicture, source});
    for (const Json& source : videos_)
      all.push_back({Kind::kVideo, source});
    for (const Json& source : sounds_)
      all.push_back({Kind::kSound, source});
    return all;
  }

  bool any_mark() const { return marks_ > 0; }

  void check_all_used() const {
    for (size_t i = 0; i < named_.size(); ++i) {
      if (!used_[i]) refuse(origin_, "no text has the mark {} of a picture", shown(named_[i].first));
    }
    if (next_picture_ != pictures_.size()) {
      refuse(origin_, "the texts have {} marks <image> for {} pictures", next_picture_, pictures_.size());
    }
    if (next_video_ != videos_.size()) {
      refuse(origin_, "the texts have {} marks <video> for {} videos", next_video_, videos_.size());
    }
    if (next_sound_ != sounds_.size()) {
      refuse(origin_, "the texts have {} marks <audio> for {} sounds", next_sound_, sounds_.size());
    }
  }

 private:
  void read_pictures(const JsonObject& record) {
    const Json* image = record.find("image");
    if (has_items(image) && has_items(record.find("images"))) refuse(origin_, "it has both \"image\" and \"images\"");
    add_list(record.find("images"), "images", pictures_);
    if (!has_items(image)) return;
    if (!image->is_object() || image->contains("path") || image->contains("bytes")) {
      add_list(image, "image", pictures_);
      return;
    }
    for (const auto& [name, source] : image->items()) {
      if (name.size() < 3 || name.front() != '<' || name.back() != '>') {
        refuse(origin_, "\"image\" has the key \"{}\", expected marks such as <image_00>", shown(name));
      }
      if (name == kPictureMarkText) {
        pictures_.push_back(source);
      } else {
        named_.emplace_back(name, source);
      }
    }
    used_.resize(named_.size());
  }

  void add_list(const Json* value, std::string_view key, std::vector<Json>& list) {
    if (!has_items(value)) return;
    if (value->is_string() || value->is_object()) {
      list.push_back(*value);
    } else if (value->is_array()) {
      list.insert(list.end(), value->begin(), value->end());
    } else {
      refuse(origin_, "\"{}\" must be a path or a list of them, found {}", key, value->type_name());
    }
  }

  MediaReference take_next(Kind kind, const std::vector<Json>& list, size_t& next, std::string_view what) {
    if (next == list.size()) {
      refuse(origin_, "the texts have more than {} {} for {} {}", list.size(), what, list.size(),
             kind == Kind::kPicture ? "pictures"
             : kind == Kind::kVideo ? "videos"
                                    : "sounds");
    }
    return {kind, list[next++]};
  }

  std::string origin_;
  std::vector<std::pair<std::string, Json>> named_;
  std::vector<bool> used_;
  std::vector<Json> pictures_, videos_, sounds_;
  size_t next_picture_ = 0, next_video_ = 0, next_sound_ = 0, marks_ = 0;
};

// ---- The forms of a conversation ----

std::string role_named(const std::string& name, const std::string& origin) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kRoles = {
      {{"system", "system"}, {"user", "user"}, {"human", "user"}, {"assistant", "assistant"}, {"gpt", "assistant"}}};
  for (const auto& [known, role] : kRoles) {
    if (name == known) return std::string(role);
  }
  refuse(origin, "unknown role \"{}\"; known are system, user (human) and assistant (gpt)", shown(name));
}

std::string string_at(const JsonObject& object, std::string_view key) {
  const auto text = object.find_string(key);
  if (!text) refuse(object.source(), "\"{}\" is missing", key);
  return *text;
}

std::vector<RawMessage> read_messages(const Json& list, std::string_view key, const std::string& origin) {
  if (!list.is_array()) refuse(origin, "\"{}\" must be a list, found {}", key, list.type_name());
  std::vector<RawMessage> messages;
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonObject message(list[i], fmt::format("{}: {}[{}]", origin, key, i));
    const bool share_gpt = message.has("from");
    RawMessage raw;
    raw.role = role_named(string_at(message, share_gpt ? "from" : "role"), message.source());
    const std::string_view content_key = share_gpt ? "value" : "content";
    const Json* content = message.find(content_key);
    if (content == nullptr) refuse(message.source(), "\"{}\" is missing", content_key);
    raw.content = *content;
    const auto reasoning = message.find_string("reasoning_content");
    if (raw.role == "assistant" && raw.content.is_string() && reasoning && !reasoning->empty()) {
      raw.content = fmt::format("<think>\n{}\n</think>\n\n{}", *reasoning, raw.content.get<std::string>());
    }
    if (message.find_bool("loss") == false) refuse(message.source(), "\"loss\": false is not supported");
    if (has_items(message.find("tool_calls"))) refuse(message.source(), "\"tool_calls\" are not supported");
    messages.push_back(std::move(raw));
  }
  return messages;
}

void add_pair(std::vector<RawMessage>& messages, std::string question, std::string answer) {
  messages.push_back({"user", std::move(question)});
  messages.push_back({"assistant", std::move(answer)});
}

std::vector<RawMessage> read_query(const JsonObject& record, std::string question, std::string answer) {
  std::vector<RawMessage> messages;
  if (const Json* history = record.find("history")) {
    const auto is_pair = [](const Json& turn) {
      return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
    };
    if (!history->is_array() || !std::ranges::all_of(*history, is_pair)) {
      refuse(record.source(), "\"history\" must be a list of pairs of texts: a question and its answer");
    }
    for (const Json& turn : *history)
      add_pair(messages, turn[0].get<std::string>(), turn[1].get<std::string>());
  }
  add_pair(messages, std::move(question), std::move(answer));
  return messages;
}

std::vector<RawMessage> read_conversation(const JsonObject& record) {
  const std::string& origin = record.source();
  std::vector<RawMessage> messages;
  if (const Json* list = record.find("messages")) {
    messages = read_messages(*list, "messages", origin);
  } else if (const Json* turns = record.find("conversations")) {
    messages = read_messages(*turns, "conversations", origin);
  } else if (record.has("query")) {
    messages = read_query(record, string_at(record, "query"), string_at(record, "response"));
  } else if (record.has("instruction")) {
    std::string question = string_at(record, "instruction");
    const std::string input = record.find_string("input").value_or("");
    if (!input.empty()) question += (question.empty() ? "" : "\n") + input;
    messages = read_query(record, std::move(question), string_at(record, "output"));
  } else {
    refuse(origin, "a sample needs \"messages\", \"conversations\", \"query\" or \"instruction\"");
  }
  const auto system = record.find_string("system");
  if (system && !system->empty()) {
    if (!messages.empty() && messages[0].role == "system") refuse(origin, "it has two system texts");
    messages.insert(messages.begin(), {"system", *system});
  }
  return messages;
}

void check_order(const std::vector<RawMessage>& messages, const std::string& origin) {
  const auto is = [&](size_t i, std::string_view role) { return i < messages.size() && messages[i].role == role; };
  const bool answered = std::ranges::any_of(messages, [](const RawMessage& m) { return m.role == "assistant"; });
  if (messages.empty()) refuse(origin, "the conversation is empty");
  if (!answered) refuse(origin, "no assistant turn: there is nothing to learn");
  for (size_t i = 1; i < messages.size(); ++i) {
    if (is(i, "system")) refuse(origin, "a system message must be the first one");
  }
  if (!is(is(0, "system") ? 1 : 0, "user")) refuse(origin, "the first turn must be the user's");
  if (!is(messages.size() - 1, "assistant")) refuse(origin, "the last turn must be the assistant's");
}

// ---- Contents ----

void add_text(RecordMessage& message, std::string_view text) {
  if (!text.empty()) message.parts.push_back({std::string(text), std::nullopt});
}

void add_marked_text(RecordMessage& message, std::string_view text, Media& media) {
  size_t from = 0;
  for (;;) {
    const auto [at, length] = media.find_mark(text, from);
    add_text(message, trimmed(text.substr(from, at - from), from > 0, length > 0));
    if (length == 0) return;
    message.parts.push_back({"", media.take(text.substr(at, length))});
    from = at + length;
  }
}

std::optional<Kind> part_kind(std::string_view type) {
  if (type == "image" || type == "image_url") return Kind::kPicture;
  if (type == "video" || type == "video_url") return Kind::kVideo;
  if (type == "audio" || type == "audio_url") return Kind::kSound;
  return std::nullopt;
}

/// Parts in the manner of OpenAI's API: {"type": "text", "text": ...}, {"type": "image", "image": ...}.
void add_part(RecordMessage& message, const Json& json, const std::string& origin, Media& media) {
  const JsonObject part(json, origin);
  const std::string type = string_at(part, "type");
  if (type == "text") {
    const std::string text = string_at(part, "text");
    add_text(message, text);
    return;
  }
  const std::optional<Kind> kind = part_kind(type);
  if (!kind) refuse(origin, "a part of type \"{}\" is not supported", shown(type));
  if (message.role != "user") refuse(origin, "only the user's messages can have pictures and sounds");
  for (const std::string_view key :
       {"image", "image_url", "video", "video_url", "audio", "audio_url", "path", "url", "bytes"}) {
    if (!part.has(key)) continue;
    const Json& source = *part.find(key);
    message.parts.push_back({"", MediaReference{*kind, key == "bytes" ? json : source}});
    return;
  }
  message.parts.push_back({"", media.take_next(*kind)});
}

RecordMessage read_content(const RawMessage& raw, const std::string& origin, Media& media) {
  RecordMessage message{raw.role, {}};
  if (raw.content.is_string()) {
    const auto& text = raw.content.get_ref<const std::string&>();
    if (raw.role == "user") {
      add_marked_text(message, text, media);
    } else {
      add_text(message, text);
    }
  } else if (raw.content.is_array()) {
    for (size_t i = 0; i < raw.content.size(); ++i)
      add_part(message, raw.content[i], fmt::format("{}: part {} of a message", origin, i + 1), media);
  } else {
    refuse(origin, "the content of a message must be a text or a list of parts, found {}", raw.content.type_name());
  }
  return message;
}

}  // namespace

std::vector<std::string> parse_spoken(const Json& json, const std::string& origin) {
  const JsonObject record(json, origin);
  const Json* spoken = record.find("spoken");
  if (!has_items(spoken)) return {};
  if (spoken->is_string()) return {spoken->get<std::string>()};
  const auto is_text = [](const Json& text) { return text.is_string(); };
  if (!spoken->is_array() || !std::ranges::all_of(*spoken, is_text)) {
    refuse(origin, "\"spoken\" must be a text or a list of texts, found {}", spoken->type_name());
  }
  return spoken->get<std::vector<std::string>>();
}

std::vector<RecordMessage> parse_record(const Json& json, const std::string& origin) {
  const JsonObject record(json, origin);
  for (const std::string_view key : {"tools", "objects"}) {
    if (has_items(record.find(key))) refuse(origin, "\"{}\" is not supported", key);
  }
  const std::vector<RawMessage> raw = read_conversation(record);
  check_order(raw, origin);
  Media media(record);
  std::vector<RecordMessage> messages;
  for (const RawMessage& message : raw)
    messages.push_back(read_content(message, origin, media));
  if (media.any_mark()) {
    media.check_all_used();
    return messages;
  }
  const auto first = std::ranges::find(messages, "user", &RecordMessage::role);
  size_t place = 0;
  for (MediaReference& reference : media.take_all())
    first->parts.insert(first->parts.begin() + static_cast<ptrdiff_t>(place++), {"", std::move(reference)});
  return messages;
}

}  // namespace minicpm
