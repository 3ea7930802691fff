// From a chat request to what the model takes: template, pictures to patches, placeholders, tokens.
#pragma once

#include <optional>

#include "engine/chat.h"
#include "engine/scheduler.h"
#include "models/loaded_model.h"

namespace minicpm {

struct PreparedPrompt {
  ModelInput input;
  Usage usage;  // the prompt's part
};

class Processor {
 public:
  /// Requires a model with a tokenizer.
  explicit Processor(const LoadedModel& model);

  /// Throws Error invalid_request: no message, no text and no picture to answer, an unknown role, pictures for a model
  /// that cannot see, packs of frames for one that cannot pack.
  PreparedPrompt prepare(const ChatRequest& request) const;

 private:
  std::shared_ptr<MediaItem> make_item(const ContentPart& part, const SliceConfig& slices) const;
  std::vector<PromptPiece> render(const ChatRequest& request, const std::string& mark) const;
  void find_spans(const std::vector<int32_t>& tokens, std::vector<std::shared_ptr<MediaItem>>& items) const;

  const LoadedModel* model_;
};

}  // namespace minicpm
