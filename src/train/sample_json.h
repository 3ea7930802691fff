// One record of training data as JSON, in any of the forms that people have, to messages with references to pictures.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace minicpm {

/// A picture, a video or a sound as a record names it: a path, a data: URL, an object with either, a list of frames.
struct MediaReference {
  enum class Kind { kPicture, kVideo, kSound };
  Kind kind = Kind::kPicture;
  Json source;
};

/// A part of a message: text, or a picture, video or sound.
struct RecordPart {
  std::string text;
  std::optional<MediaReference> media;
};

struct RecordMessage {
  std::string role;  // "system", "user" or "assistant"
  std::vector<RecordPart> parts;
};

/// Forms, told apart by their keys:
///   messages or conversations: [{role, content}] or [{from, value}]
///   query, response, history: [[query, response], ...]; instruction, input, output, history
/// with system; image (a path, or {"<image_00>": path, ...}) or images, video or videos, audio or audios. The marks
/// <image>, <video>, <audio> and <image_NN> in user texts stand for the media in order or by name; without any mark all
/// media come first in the first user message. White space beside a mark goes, since the prompt puts media and text on
/// lines of their own. Throws Error bad_file naming `origin`: other keys or types; no answer, an unknown role, a first
/// message that is not the user's (after the system's), a last one that is not the assistant's; marks and media that do
/// not match; tools and other things that are not trained on.
std::vector<RecordMessage> parse_record(const Json& record, const std::string& origin);

/// What is said in the sounds of a record, for the auxiliary loss of training: "spoken", a text for each message with
/// sound, or one text. Empty when it is not given. Throws Error bad_file naming `origin`.
std::vector<std::string> parse_spoken(const Json& record, const std::string& origin);

}  // namespace minicpm
