#include "cli/conversation.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file_map.h"

namespace minicpm::cli {
namespace {

std::string_view mark_of(MediaFile::Kind kind) {
  return kind == MediaFile::Kind::kVideo ? "[video]" : kind == MediaFile::Kind::kAudio ? "[sound]" : "![picture]";
}
std::string_view type_of(MediaFile::Kind kind) {
  return kind == MediaFile::Kind::kVideo ? "video" : kind == MediaFile::Kind::kAudio ? "audio" : "image";
}

}  // namespace

std::vector<Message> Conversation::messages() const {
  std::vector<Message> result;
  if (!system.empty()) result.push_back({"system", {ContentPart::from_text(system)}});
  for (const Turn& turn : turns) {
    Message message{turn.role, {}};
    message.content = message_content(turn.media, turn.text);
    result.push_back(std::move(message));
  }
  return result;
}

std::string Conversation::markdown() const {
  std::string text = fmt::format("# Conversation with {}\n", model);
  if (!system.empty()) text += fmt::format("\n## System\n\n{}\n", system);
  for (const Turn& turn : turns) {
    text += turn.role == "user" ? "\n## User\n" : "\n## Assistant\n";
    for (const NamedMedia& media : turn.media)
      text += fmt::format("\n{}(<{}>)\n", mark_of(media.kind), media.file);
    if (turn.reasoning) {
      text += fmt::format("\n<details><summary>Reasoning</summary>\n\n{}\n\n</details>\n", *turn.reasoning);
    }
    text += fmt::format("\n{}\n", turn.text);
  }
  return text;
}

Json Conversation::json() const {
  Json list = Json::array();
  if (!system.empty()) list.push_back({{"role", "system"}, {"content", system}});
  for (const Turn& turn : turns) {
    Json content = Json::array();
    for (const NamedMedia& media : turn.media)
      content.push_back({{"type", type_of(media.kind)}, {"path", media.file}});
    content.push_back({{"type", "text"}, {"text", turn.text}});
    Json message = {{"role", turn.role}, {"content", content}};
    if (turn.reasoning) message["reasoning"] = *turn.reasoning;
    list.push_back(message);
  }
  return {{"model", model}, {"messages", list}};
}

void Conversation::save(const std::string& file) const {
  if (file.ends_with(".md")) return write_file_atomically(file, markdown());
  if (file.ends_with(".json")) {
    return write_file_atomically(file, json().dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  fail(ErrorCode::kInvalidRequest, "{}: a conversation is saved as .md or .json", file);
}

}  // namespace minicpm::cli
