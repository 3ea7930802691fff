#include "train/encode.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "media/slicing.h"

namespace minicpm {
namespace {

/// A rectangle of a picture that became one slice.
struct SliceArea {
  double left = 0, top = 0;         // in the picture's pixels
  double scale_x = 1, scale_y = 1;  // pixels of the picture for one pixel of the slice
};

/// Slice 0 is the overview, the others are the grid row by row.
SliceArea slice_area(Size image, const SlicePlan& plan, size_t slice) {
  if (slice == 0) {
    return {0, 0, static_cast<double>(image.width) / plan.overview.width,
            static_cast<double>(image.height) / plan.overview.height};
  }
  const auto cols = static_cast<size_t>(plan.grid->cols);
  SliceArea area;
  area.scale_x = static_cast<double>(image.width) / plan.refined.width;
  area.scale_y = static_cast<double>(image.height) / plan.refined.height;
  area.left = static_cast<double>((slice - 1) % cols) * plan.slice.width * area.scale_x;
  area.top = static_cast<double>((slice - 1) / cols) * plan.slice.height * area.scale_y;
  return area;
}

/// Places in the picture of the centres of `count` cells.
std::vector<double> cell_centres(int count, double cell, double offset, double scale) {
  std::vector<double> centres(count);
  for (int i = 0; i < count; ++i)
    centres[i] = offset + (i + 0.5) * cell * scale;
  return centres;
}

/// The classes of one slice's cells: that of the last box that contains a cell's centre.
std::vector<int32_t> label_cells(const Patches& patches, const SliceArea& area, int patch_size,
                                 const std::vector<LabelBox>& boxes) {
  const int rows = patches.h, cols = 2 * patches.w;
  const std::vector<double> xs = cell_centres(cols, patch_size / 2.0, area.left, area.scale_x);
  const std::vector<double> ys = cell_centres(rows, patch_size, area.top, area.scale_y);
  std::vector<int32_t> cells(static_cast<size_t>(rows) * cols);
  const auto first_at = [](const std::vector<double>& centres, float from) {
    return std::ranges::lower_bound(centres, static_cast<double>(from)) - centres.begin();
  };
  for (const LabelBox& box : boxes) {
    const ptrdiff_t left = first_at(xs, box.left), right = first_at(xs, box.right);
    for (ptrdiff_t y = first_at(ys, box.top); y < first_at(ys, box.bottom); ++y) {
      if (left < right) std::fill(cells.begin() + y * cols + left, cells.begin() + y * cols + right, box.label);
    }
  }
  return cells;
}

void check_boxes(const std::vector<LabelBox>& boxes) {
  for (const LabelBox& box : boxes) {
    const bool finite =
        std::isfinite(box.left) && std::isfinite(box.top) && std::isfinite(box.right) && std::isfinite(box.bottom);
    if (!finite || box.label < 0) {
      fail(ErrorCode::kInvalidRequest, "a label box has the label {} and the corners {}, {}, {}, {}", box.label,
           box.left, box.top, box.right, box.bottom);
    }
  }
}

/// Cells of all slices of one media item. `boxes`: one list for each of its pictures, at `boxes[0]` that of the first.
void label_item(const ContentPart& part, const MediaItem& item, const SliceConfig& config,
                const std::vector<LabelBox>* boxes, std::vector<std::vector<int32_t>>& cells) {
  const size_t frames = part.images.size();
  std::vector<SlicePlan> plans;
  for (const auto& image : part.images)
    plans.push_back(plan_slices({image->width, image->height}, config));
  for (size_t i = 0; i < item.slices.size(); ++i) {  // all frames of slice 0, then of slice 1, ...
    const size_t frame = i % frames;
    const Image& image = *part.images[frame];
    const SliceArea area = slice_area({image.width, image.height}, plans[frame], i / frames);
    cells.push_back(label_cells(item.slices[i], area, config.patch_size, boxes[frame]));
  }
}

std::vector<std::vector<int32_t>> label_sample(const Processor& processor, const TrainingSample& sample,
                                               const ModelInput& input, std::optional<int> max_slices) {
  size_t pictures = 0;
  for (const Message& message : sample.messages) {
    for (const ContentPart& part : message.content)
      pictures += part.images.size();
  }
  if (sample.boxes.size() != pictures) {
    fail(ErrorCode::kInvalidRequest, "{} lists of label boxes for {} pictures", sample.boxes.size(), pictures);
  }
  for (const std::vector<LabelBox>& boxes : sample.boxes)
    check_boxes(boxes);
  std::vector<std::vector<int32_t>> cells;
  size_t item = 0, picture = 0;
  for (const Message& message : sample.messages) {
    for (const ContentPart& part : message.content) {
      if (!part.is_visual()) continue;
      while (input.media[item]->is_sound())
        ++item;
      const SliceConfig config = processor.slice_config(part.max_slices ? part.max_slices : max_slices);
      label_item(part, *input.media[item++], config, &sample.boxes[picture], cells);
      picture += part.images.size();
    }
  }
  return cells;
}

bool has_media(const Message& message) {
  return std::ranges::any_of(message.content, [](const ContentPart& p) { return p.kind != ContentPart::Kind::kText; });
}

/// The conversations with one question each that an independent sample stands for.
std::vector<std::vector<Message>> single_turns(const TrainingSample& sample) {
  const auto& messages = sample.messages;
  const size_t first = !messages.empty() && messages[0].role == "system" ? 1 : 0;
  std::vector<ContentPart> media;
  std::vector<std::vector<Message>> turns;
  for (size_t i = first; i < messages.size(); i += 2) {
    if (messages[i].role != "user" || i + 1 == messages.size() || messages[i + 1].role != "assistant") {
      fail(ErrorCode::kInvalidRequest, "independent turns are questions of the user with one answer each, found {}",
           i + 1 == messages.size() ? "a last message without an answer" : "two messages of one role in a row");
    }
    Message question = messages[i];
    if (i == first) {
      std::ranges::copy_if(question.content, std::back_inserter(media),
                           [](const ContentPart& p) { return p.kind != ContentPart::Kind::kText; });
    } else {
      if (has_media(question)) {
        fail(ErrorCode::kInvalidRequest,
             "independent turns share the pictures of the first question; message {} has more", i + 1);
      }
      question.content.insert(question.content.begin(), media.begin(), media.end());
    }
    turns.emplace_back(messages.begin(), messages.begin() + static_cast<ptrdiff_t>(first));
    turns.back().push_back(std::move(question));
    turns.back().push_back(messages[i + 1]);
  }
  return turns;
}

/// One sequence for all: what every prompt begins with, then the rest of each.
TrainingPrompt join_turns(const Processor& processor, const TrainingSample& sample, const EncodeOptions& options,
                          std::vector<int64_t>& branches) {
  std::vector<TrainingPrompt> prompts;
  for (const std::vector<Message>& turn : single_turns(sample)) {
    TrainingPromptOptions prompt{options.max_slices, std::nullopt};
    if (!prompts.empty()) prompt.media = prompts[0].input.media;
    prompts.push_back(processor.prepare_training(turn, prompt));
  }
  if (prompts.empty()) fail(ErrorCode::kInvalidRequest, "the sample has no question");
  const std::vector<int32_t> first = prompts[0].input.tokens;
  auto shared = static_cast<ptrdiff_t>(prompts[0].prompt_tokens);
  for (const TrainingPrompt& prompt : prompts) {
    const auto differ = std::ranges::mismatch(first, prompt.input.tokens).in1 - first.begin();
    shared = std::min({shared, differ, static_cast<ptrdiff_t>(prompt.prompt_tokens)});
  }
  for (const auto& item : prompts[0].input.media) {
    if (prompts.size() > 1 && item->end() > shared) {
      fail(ErrorCode::kInvalidRequest, "independent turns need the pictures before the text of the first question");
    }
  }
  TrainingPrompt joined = std::move(prompts[0]);
  branches = {shared};
  for (size_t i = 1; i < prompts.size(); ++i) {
    const TrainingPrompt& prompt = prompts[i];
    auto& tokens = joined.input.tokens;
    branches.push_back(static_cast<int64_t>(tokens.size()));
    tokens.insert(tokens.end(), prompt.input.tokens.begin() + shared, prompt.input.tokens.end());
    joined.learned.insert(joined.learned.end(), prompt.learned.begin() + shared, prompt.learned.end());
  }
  return joined;
}

EncodedSample encode(const Processor& processor, const TrainingSample& sample, const EncodeOptions& options) {
  EncodedSample encoded;
  TrainingPrompt prompt = options.independent_turns
                              ? join_turns(processor, sample, options, encoded.branches)
                              : processor.prepare_training(sample.messages, {options.max_slices, std::nullopt});
  const std::vector<int32_t>& tokens = prompt.input.tokens;
  const auto length = static_cast<int64_t>(tokens.size());
  if (length > options.max_tokens) {
    fail(ErrorCode::kInvalidRequest, "the sample has {} tokens, expected at most {}", length, options.max_tokens);
  }
  encoded.labels.assign(tokens.size(), kIgnoreLabel);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!prompt.learned[i]) continue;
    encoded.labels[i] = tokens[i];
    ++encoded.trained_tokens;
  }
  if (!sample.boxes.empty()) encoded.cells = label_sample(processor, sample, prompt.input, options.max_slices);
  const auto heard = std::ranges::count_if(prompt.input.media, [](const auto& item) { return item->is_sound(); });
  if (!sample.spoken.empty() && static_cast<int64_t>(sample.spoken.size()) != heard) {
    fail(ErrorCode::kInvalidRequest, "{} texts are spoken in {} messages with sound", sample.spoken.size(), heard);
  }
  for (const std::string& text : sample.spoken)
    encoded.spoken.push_back(processor.tokenizer().encode(text, ParseSpecial::kNone));
  encoded.input = std::move(prompt.input);
  return encoded;
}

}  // namespace

EncodedSample encode_sample(const Processor& processor, const TrainingSample& sample, const EncodeOptions& options) {
  try {
    return encode(processor, sample, options);
  } catch (const Error& error) {
    if (sample.origin.empty()) throw;
    throw Error(error.code(), fmt::format("{}: {}", sample.origin, error.what()));
  }
}

}  // namespace minicpm
