// From a chat request to what the model takes: template, pictures to patches, placeholders, tokens. Training takes the
// same way, so that a model learns from the very prompts it will be asked with.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/chat.h"
#include "engine/scheduler.h"
#include "models/model_config.h"

namespace minicpm {

struct PreparedPrompt {
  ModelInput input;
  Usage usage;  // the prompt's part
};

/// A conversation to learn from.
struct TrainingPrompt {
  ModelInput input;           // the prompt and the last answer
  int64_t prompt_tokens = 0;  // before the last answer: what prepare() gives for the conversation without it
  std::vector<bool> learned;  // [tokens]
  Usage usage;                // of the prompt; completion_tokens: of the last answer
};

struct TrainingPromptOptions {
  std::optional<int> max_slices;  // as in ChatRequest
  std::optional<bool> use_image_id;
  /// What an earlier prompt made of the same pictures with the same options, taken instead of preparing them again.
  std::span<const std::shared_ptr<const MediaItem>> media = {};
};

class Processor {
 public:
  /// Both must outlive the processor.
  Processor(const ModelConfig& config, const Tokenizer& tokenizer);

  /// Throws Error invalid_request: no message, no text and no picture to answer, an unknown role, pictures for a model
  /// that cannot see, packs of frames for one that cannot pack.
  PreparedPrompt prepare(const ChatRequest& request) const;

  /// `messages` end with the assistant's answer; reasoning in it ("<think>...</think>...", not blank) turns thinking
  /// on. Learned are the texts of all assistant turns with the token that ends each, as they stand in the prompt:
  /// earlier turns are history, whose reasoning the template drops. An earlier turn with the text of an added token
  /// (<box>, ...) is not learned, since history shows it as ordinary text. Throws Error as prepare() does for the
  /// messages before the answer, invalid_request for an answer that is empty or has pictures, and unsupported for a
  /// family whose turns have no special tokens.
  TrainingPrompt prepare_training(std::span<const Message> messages, const TrainingPromptOptions& options) const;

  /// A piece of a conversation that grows in a stream: parts joined without anything between them, no template. Each
  /// picture and each sound (at most 30 s) is an item of its own; pictures have numbers only where their part asks for
  /// it. Throws Error as prepare() does for what the model cannot see or hear.
  ModelInput prepare_piece(std::span<const ContentPart> parts) const;

  const ModelConfig& config() const { return *config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// The model's slicing with at most `max_slices` slices where given.
  SliceConfig slice_config(std::optional<int> max_slices) const;

 private:
  PreparedPrompt prepare(const ChatRequest& request, std::span<const std::shared_ptr<const MediaItem>> known) const;
  PreparedPrompt prepare_tokens(const std::vector<int32_t>& tokens) const;
  std::shared_ptr<MediaItem> make_item(const ContentPart& part, const SliceConfig& slices) const;
  std::vector<int64_t> sound_spans(const ContentPart& part) const;
  std::shared_ptr<MediaItem> make_sound_item(const Message& message) const;
  PromptPiece prepare_part(const ContentPart& part, std::vector<std::shared_ptr<MediaItem>>& items) const;
  std::vector<PromptPiece> render(const ChatRequest& request) const;
  void find_spans(const std::vector<int32_t>& tokens, std::vector<std::shared_ptr<MediaItem>>& items) const;

  std::vector<bool> history_to_learn(std::span<const Message> history, std::span<const int32_t> tokens) const;

  int32_t special_id(std::string_view text) const;

  const ModelConfig* config_;
  const Tokenizer* tokenizer_;
  std::optional<LogMel> mel_;  // of models that hear
};

}  // namespace minicpm
