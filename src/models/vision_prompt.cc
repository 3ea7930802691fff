#include "models/vision_prompt.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace minicpm {
namespace {

std::string repeat(std::string_view text, int count) {
  std::string result;
  result.reserve(text.size() * count);
  for (int i = 0; i < count; ++i)
    result += text;
  return result;
}

/// The white space of Python's str.strip in UTF-8.
constexpr std::string_view kWhiteSpace[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
    "\xc2\x85",      // U+0085 next line
    "\xc2\xa0",      // U+00A0 no-break space
    "\xe1\x9a\x80",  // U+1680 Ogham space
    "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84",
    "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89",
    "\xe2\x80\x8a",                  // U+2000..U+200A spaces of fixed widths
    "\xe2\x80\xa8", "\xe2\x80\xa9",  // U+2028, U+2029 line and paragraph separator
    "\xe2\x80\xaf", "\xe2\x81\x9f",  // U+202F, U+205F narrow and mathematical space
    "\xe3\x80\x80",                  // U+3000 ideographic space
};

/// Bytes of the white space that the text starts or ends with; 0 if there is none.
size_t space_at_start(std::string_view text) {
  for (const std::string_view space : kWhiteSpace) {
    if (text.starts_with(space)) return space.size();
  }
  return 0;
}
size_t space_at_end(std::string_view text) {
  for (const std::string_view space : kWhiteSpace) {
    if (text.ends_with(space)) return space.size();
  }
  return 0;
}

/// Strips the joined text of the pieces; those that become empty go.
void strip(std::vector<PromptPiece>& pieces) {
  size_t begin = 0, end = pieces.size();
  for (; begin < end; ++begin) {
    std::string& text = pieces[begin].text;
    while (const size_t n = space_at_start(text))
      text.erase(0, n);
    if (!text.empty()) break;
  }
  for (; end > begin; --end) {
    std::string& text = pieces[end - 1].text;
    while (const size_t n = space_at_end(text))
      text.resize(text.size() - n);
    if (!text.empty()) break;
  }
  pieces.erase(pieces.begin() + static_cast<ptrdiff_t>(end), pieces.end());
  pieces.erase(pieces.begin(), pieces.begin() + static_cast<ptrdiff_t>(begin));
}

/// The prompt cut at its marks: one chunk before each mark, and one behind the last.
std::vector<std::vector<PromptPiece>> split_at_marks(std::span<const PromptPiece> pieces) {
  std::vector<std::vector<PromptPiece>> chunks(1);
  for (const PromptPiece& piece : pieces) {
    std::string_view rest = piece.text;
    while (piece.control) {
      const size_t at = rest.find(kPictureMark);
      if (at == std::string_view::npos) break;
      if (at > 0) chunks.back().push_back({std::string(rest.substr(0, at)), true});
      chunks.emplace_back();
      rest.remove_prefix(at + kPictureMark.size());
    }
    if (!rest.empty()) chunks.back().push_back({std::string(rest), piece.control});
  }
  return chunks;
}

}  // namespace

std::string image_placeholder(const PlaceholderConfig& config, int image_index, std::optional<Grid> grid) {
  const bool old_layout = config.layout == PlaceholderLayout::kOld;
  const std::string queries = repeat(config.query, config.queries_per_slice);
  const std::string image = config.image_start + queries + config.image_end;
  const std::string slice = old_layout ? image : config.slice_start + queries + config.slice_end;

  std::string text;
  if (!old_layout && config.use_image_id) {
    text += config.image_id_start + std::to_string(image_index) + config.image_id_end;
  }
  text += image;
  if (!grid) return text;
  if (old_layout) text += config.slice_start;
  for (int row = 0; row < grid->rows; ++row) {
    if (row > 0) text += '\n';
    text += repeat(slice, grid->cols);
  }
  if (old_layout) text += config.slice_end;
  return text;
}

std::vector<PromptPiece> expand_image_marks(std::span<const PromptPiece> pieces, std::span<const MediaGroup> groups,
                                            const PlaceholderConfig& config) {
  size_t num_frames = 0;
  for (const MediaGroup& group : groups) {
    if (group.frames < 1) fail(ErrorCode::kInvalidRequest, "a pack of {} frames, expected at least 1", group.frames);
    num_frames += static_cast<size_t>(group.frames);
  }
  std::vector<std::vector<PromptPiece>> chunks = split_at_marks(pieces);
  if (chunks.size() - 1 != num_frames) {
    fail(ErrorCode::kInvalidRequest, "the prompt has {} image marks for {} pictures or frames", chunks.size() - 1,
         num_frames);
  }

  std::vector<PromptPiece> result;
  const auto append = [&](std::vector<PromptPiece>& chunk) { std::ranges::move(chunk, std::back_inserter(result)); };
  size_t image = 0;  // index over all frames; the chunk before its mark has the same index
  int number = 0;    // that the next picture shows
  for (const MediaGroup& group : groups) {
    append(chunks[image]);
    PlaceholderConfig own = config;
    own.use_image_id = group.use_image_id.value_or(config.use_image_id);
    result.push_back({image_placeholder(own, number, group.grid), true});
    if (group.use_image_id.value_or(true)) number += group.frames;
    ++image;
    for (int frame = 1; frame < group.frames; ++frame, ++image) {
      strip(chunks[image]);
      append(chunks[image]);
    }
  }
  append(chunks[image]);
  return result;
}

}  // namespace minicpm
