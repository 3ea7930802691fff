// From a sample to what the model is trained on: the prompt as inference makes it, and which tokens are to be learned.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/processor.h"
#include "engine/scheduler.h"
#include "train/sample.h"

namespace minicpm {

inline constexpr int32_t kIgnoreLabel = -100;

struct EncodeOptions {
  int64_t max_tokens = 2048;      // of one sample; longer ones are refused
  std::optional<int> max_slices;  // unset: the model's own
  /// Every question is learned as if it were asked alone, without the other questions and answers of the sample. They
  /// share the pictures, which must all be in the first message of the user.
  bool independent_turns = false;
};

struct EncodedSample {
  ModelInput input;
  /// [tokens]: the token's own id where it is to be learned (an assistant's text and its <|im_end|>), else
  /// kIgnoreLabel. Not shifted: labels[i] is predicted from positions before i.
  std::vector<int32_t> labels;
  int64_t trained_tokens = 0;
  /// Where each independent question begins in the tokens: the first one goes on from what all share, the others take
  /// up there too and see nothing of those before them. Empty: one conversation.
  std::vector<int64_t> branches;
  /// For each slice of each media item, in order: the class of each half patch [h, 2 * w] (cells of patch / 2 columns
  /// and patch rows; 0: nothing). Empty when the sample has no boxes.
  std::vector<std::vector<int32_t>> cells;
  /// For each message with sound, in order: the tokens of what is said in it. Empty when the sample does not tell.
  std::vector<std::vector<int32_t>> spoken;
};

/// Throws Error invalid_request naming sample.origin and the reason: no assistant turn, too long, unknown role, ...
EncodedSample encode_sample(const Processor& processor, const TrainingSample& sample, const EncodeOptions& options);

}  // namespace minicpm
