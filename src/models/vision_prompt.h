// How pictures stand in a prompt: the placeholder text of a picture, and its place in a rendered template.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "media/slicing.h"
#include "text/tokenizer.h"

namespace minicpm {

/// What the chat templates copy for each picture or video frame.
inline constexpr std::string_view kPictureMark = "(<image>./</image>)";

enum class PlaceholderLayout {
  kOld,  // 2.0 and 2.5: every slice in <image> tags, all slices of the grid together in one pair of <slice> tags
  kNew,  // 2.6 and later: a picture's number, the overview in <image> tags, each slice in <slice> tags
};

struct PlaceholderConfig {
  PlaceholderLayout layout = PlaceholderLayout::kNew;
  int queries_per_slice = 64;  // 96 in 2.5
  bool use_image_id = true;    // new layout only
  std::string image_start = "<image>", image_end = "</image>";
  std::string slice_start = "<slice>", slice_end = "</slice>";
  std::string image_id_start = "<image_id>", image_id_end = "</image_id>";
  std::string query = "<unk>";  // stands for one row of the resampler
};

/// The text of one picture: overview, then the grid's rows separated by newlines. `image_index` counts from 0 over the
/// whole prompt and shows only in the new layout with use_image_id.
std::string image_placeholder(const PlaceholderConfig& config, int image_index, std::optional<Grid> grid);

/// Frames that share one placeholder, with the grid of the first; a still picture is a group of one.
struct MediaGroup {
  int frames = 1;
  std::optional<Grid> grid;
  std::optional<bool> use_image_id = {};  // unset: as the configuration says; false: not counted either
};

/// Replaces the image marks of a rendered prompt, one for each frame in reading order. A group's first mark becomes a
/// control piece with its placeholder, numbered by the frames before it. The marks of its other frames vanish, and the
/// text between them and the mark before loses its outer white space, as the official processor does it. Marks count
/// only in control pieces: what a user types is text. Throws Error invalid_request when the number of marks is not the
/// number of frames, or a group has no frame.
std::vector<PromptPiece> expand_image_marks(std::span<const PromptPiece> pieces, std::span<const MediaGroup> groups,
                                            const PlaceholderConfig& config);

}  // namespace minicpm
