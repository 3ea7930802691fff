// The turns of a chat, and how they are written to a file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/chat.h"
#include "engine/chat.h"

namespace minicpm::cli {

struct Turn {
  std::string role;  // "user" or "assistant"
  std::string text;
  std::vector<NamedMedia> media;         // before the text
  std::optional<std::string> reasoning;  // of the assistant
};

struct Conversation {
  std::string model;
  std::string system;
  std::vector<Turn> turns;

  std::vector<Message> messages() const;
  std::string markdown() const;
  Json json() const;

  /// .md or .json by the file's ending. Throws Error invalid_request for others, io.
  void save(const std::string& file) const;
};

}  // namespace minicpm::cli
