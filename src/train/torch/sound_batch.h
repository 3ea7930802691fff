// The sounds of a batch, packed for the torch encoder.
#pragma once

#include <span>
#include <vector>

#include "models/whisper.h"
#include "train/encode.h"
#include "train/torch/functions.h"

namespace minicpm::train {

/// Pieces of sound lie one after another, each with a silent frame in front and one or two behind, so that the windows
/// of the second convolution, which has stride 2, never reach into a neighbour.
struct SoundBatch {
  Tensor windows;         // [padded frames, 3 * mel_bins]: each mel frame between its neighbours
  Tensor inside;          // [padded frames, 1]: 1 for a piece's own frames, 0 for those around
  Tensor frames;          // [frames] int64: which windows of the second convolution are frames
  Tensor positions;       // [frames] int64: rows of the position table
  std::vector<Run> runs;  // one sequence per piece
  Tensor kept;            // [rows * pool_step] int64: the frames that become rows
  Tensor heard;           // [n] int64: the rows that have a place in the text ...
  Tensor places;          // [n] int64: ... and where

  // Of sounds whose words are known, for the auxiliary loss: one target for each.
  Tensor spoken_rows;    // [sounds, longest] int64: their rows; those behind the end repeat the first
  Tensor spoken_tokens;  // [sum of spoken_lengths] int64
  std::vector<int64_t> spoken_row_counts, spoken_lengths;

  bool empty() const { return !windows.defined(); }
};

/// `length`: rows of text of each sample, padding included. Empty when no sample has a sound.
SoundBatch make_sound_batch(const AudioConfig& config, std::span<const EncodedSample* const> samples, int64_t length,
                            at::ScalarType type);

}  // namespace minicpm::train
