#include "engine/processor.h"

#include <algorithm>

#include "media/slicing.h"
#include "models/vision_prompt.h"

namespace minicpm {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::kInvalidRequest, why);
}

bool has_content(const Message& message) {
  return std::ranges::any_of(message.content, [](const ContentPart& part) {
    return part.kind != ContentPart::Kind::kText || part.text.find_first_not_of(" \t\r\n") != std::string::npos;
  });
}

void check(const ChatRequest& request, const VersionRow& version) {
  if (request.messages.empty()) refuse("the request has no message");
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    const bool known = message.role == "user" || message.role == "assistant" || message.role == "system";
    if (!known)
      refuse(fmt::format("message {} has the role \"{}\"; known are system, user and assistant", i + 1, message.role));
    if (message.role == "system" && i > 0) refuse("a system message must be the first one");
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::kText) continue;
      if (!version.vision)
        refuse(fmt::format("{} cannot see pictures; a GGUF model needs its mmproj file", version.title));
      if (part.images.empty()) refuse("a picture part without a picture");
      if (part.kind == ContentPart::Kind::kFrames && part.frame_ids.size() != part.images.size()) {
        refuse(fmt::format("{} frames with {} time ids", part.images.size(), part.frame_ids.size()));
      }
      if (part.kind == ContentPart::Kind::kFrames && part.images.size() > 1 && !version.temporal) {
        refuse(fmt::format("{} cannot take several frames as one pack", version.title));
      }
    }
  }
  if (request.messages.back().role != "user") refuse("the last message must be the user's");
  if (!has_content(request.messages.back())) refuse("the prompt is empty");
  if (request.thinking && !version.thinking) refuse(fmt::format("{} has no thinking mode", version.title));
}

/// A text that occurs in no message, to stand for pictures while the template is applied. A user who types the mark
/// itself must not get a picture for it.
std::string unused_mark(const ChatRequest& request) {
  std::string mark = "\x01image\x01";
  const auto occurs = [&] {
    for (const Message& message : request.messages) {
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

/// Splits text pieces at the stand-in and puts control pieces with the templates' own mark there.
std::vector<PromptPiece> restore_marks(const std::vector<PromptPiece>& pieces, const std::string& mark) {
  std::vector<PromptPiece> result;
  const auto append = [&](std::string text, bool control) {
    if (!text.empty()) result.push_back({std::move(text), control});
  };
  for (const PromptPiece& piece : pieces) {
    size_t from = 0;
    for (size_t at; (at = piece.text.find(mark, from)) != std::string::npos; from = at + mark.size()) {
      append(piece.text.substr(from, at - from), piece.control);
      append(std::string(kPictureMark), true);
    }
    append(piece.text.substr(from), piece.control);
  }
  return result;
}

}  // namespace

Processor::Processor(const LoadedModel& model) : model_(&model) {}

std::shared_ptr<MediaItem> Processor::make_item(const ContentPart& part, const SliceConfig& config) const {
  auto item = std::make_shared<MediaItem>();
  std::vector<std::vector<Patches>> frames;
  for (const auto& image : part.images) {
    frames.emplace_back();
    for (const Image& slice : slice_image(*image, config))
      frames.back().push_back(make_patches(slice, config));
  }
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
      if (part.kind == ContentPart::Kind::kFrames) group.frame_ids.push_back(part.frame_ids[f]);
      item->slices.push_back(std::move(patches));
    }
    item->groups.push_back(std::move(group));
  }
  return item;
}

std::vector<PromptPiece> Processor::render(const ChatRequest& request, const std::string& mark) const {
  std::vector<ChatMessage> messages;
  for (const Message& message : request.messages) {
    ChatMessage rendered;
    rendered.role = message.role;
    bool first = true;
    for (const ContentPart& part : message.content) {
      if (!first) rendered.content += '\n';
      first = false;
      if (part.kind == ContentPart::Kind::kText) rendered.content += part.text;
      for (size_t i = 0; part.kind != ContentPart::Kind::kText && i < part.images.size(); ++i) {
        rendered.content += (i > 0 ? "\n" : "") + mark;
      }
    }
    messages.push_back(std::move(rendered));
  }
  ChatTemplateOptions options;
  if (model_->version().thinking) options.enable_thinking = request.thinking;
  return restore_marks(apply_chat_template(model_->version().chat, messages, options), mark);
}

PreparedPrompt Processor::prepare(const ChatRequest& request) const {
  const VersionRow& version = model_->version();
  check(request, version);
  SliceConfig slices = model_->config().slices;
  slices.max_slice_nums = request.max_slices.value_or(slices.max_slice_nums);

  PreparedPrompt prompt;
  std::vector<std::shared_ptr<MediaItem>> items;
  std::vector<MediaGroup> groups;
  for (const Message& message : request.messages) {
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::kText) continue;
      const Image& first = *part.images.front();
      groups.push_back({static_cast<int>(part.images.size()), plan_slices({first.width, first.height}, slices).grid});
      items.push_back(make_item(part, slices));
      prompt.usage.images += static_cast<int64_t>(part.images.size());
      prompt.usage.slices += static_cast<int64_t>(items.back()->slices.size());
    }
  }

  std::vector<PromptPiece> pieces = render(request, unused_mark(request));
  if (!items.empty()) {
    PlaceholderConfig config;
    config.layout = version.layout;
    config.queries_per_slice = static_cast<int>(model_->config().resampler->query_num);
    config.use_image_id = request.use_image_id.value_or(model_->config().use_image_id);
    pieces = expand_image_marks(pieces, groups, config);
  }
  prompt.input.tokens = model_->tokenizer()->encode(pieces);
  if (prompt.input.tokens.empty()) refuse("the prompt is empty");
  find_spans(prompt.input.tokens, items);
  for (auto& item : items) {
    prompt.usage.image_tokens += static_cast<int64_t>(item->groups.size()) * model_->config().resampler->query_num;
    prompt.input.media.push_back(std::move(item));
  }
  prompt.usage.prompt_tokens = static_cast<int64_t>(prompt.input.tokens.size());
  return prompt;
}

// A span lies between <image> and </image>, or <slice> and </slice>; only the program itself can have put these ids
// there, since the same strings typed by a user stay text.
void Processor::find_spans(const std::vector<int32_t>& tokens, std::vector<std::shared_ptr<MediaItem>>& items) const {
  if (items.empty()) return;
  const auto id = [&](std::string_view text) {
    const auto found = model_->tokenizer()->token_id(text);
    if (!found) fail(ErrorCode::kBadFile, "{}: the tokenizer has no token {}", model_->config().source, text);
    return *found;
  };
  const int32_t starts[] = {id("<image>"), id("<slice>")}, ends[] = {id("</image>"), id("</slice>")};
  const int64_t queries = model_->config().resampler->query_num;
  std::vector<int64_t> spans;
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (int kind = 0; kind < 2; ++kind) {
      if (tokens[i] != starts[kind]) continue;
      const auto end = static_cast<int64_t>(i) + 1 + queries;
      if (end >= static_cast<int64_t>(tokens.size()) || tokens[end] != ends[kind]) {
        fail(ErrorCode::kBadFile, "{}: the tokenizer does not map a picture's {} placeholders to {} ids",
             model_->config().source, queries, queries);
      }
      spans.push_back(static_cast<int64_t>(i) + 1);
    }
  }
  auto next = spans.begin();
  for (const auto& item : items) {
    for (size_t g = 0; g < item->groups.size(); ++g) {
      if (next == spans.end()) fail(ErrorCode::kInternal, "the prompt has fewer picture places than pictures");
      item->spans.push_back(*next++);
    }
  }
  if (next != spans.end()) fail(ErrorCode::kInternal, "the prompt has more picture places than pictures");
}

}  // namespace minicpm
