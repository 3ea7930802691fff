// The sound encoder of MiniCPM-o 2.6: Whisper's encoder, a projection into the language model's rows, and average
// pooling over time. Sound comes as log-mel frames, 100 a second; rows come out at 25 a second.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "media/log_mel.h"
#include "models/tables.h"
#include "ops/ops.h"

namespace minicpm {

struct AudioConfig {
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t intermediate_size = 0;
  int64_t mel_bins = 80;
  int64_t max_positions = 1500;  // encoder frames, 50 a second
  int64_t pool_step = 2;         // encoder frames of one row
  int64_t output_size = 0;       // the language model's hidden size
  bool chunk_input = true;       // the prompt marks every chunk of rows by itself, not each sound as a whole
  float chunk_seconds = 1.0f;    // a frame sees its own piece of this length and those before; 0: all frames

  // Derived by finish().
  int64_t head_dim = 0;
  int64_t kernel = 3;  // of both convolutions

  /// Fills the derived sizes and checks them. Throws Error bad_file naming `source`.
  void finish(std::string_view source);

  /// Encoder frames of one piece; 0: no pieces.
  int64_t chunk_frames() const { return static_cast<int64_t>(chunk_seconds * 50); }
  /// Encoder frames of so many mel frames, and rows of so many encoder frames.
  static int64_t encoder_frames(int64_t mel_frames) { return (mel_frames + 1) / 2; }
  int64_t rows(int64_t frames) const { return frames / pool_step; }
  /// Rows of so many samples at 16 kHz.
  int64_t rows_of_samples(int64_t samples) const { return rows(encoder_frames((samples + kMelHop - 1) / kMelHop)); }
  /// Rows of one mark in the prompt: those of a second.
  int64_t rows_of_mark() const { return std::max<int64_t>(1, 50 / pool_step); }
};

struct AudioLayerWeights {
  Tensor norm1, norm1_bias;  // [hidden]
  Weight q, k, v, out;       // [hidden, hidden]
  Tensor q_bias, v_bias, out_bias;
  Tensor norm2, norm2_bias;
  Weight fc1;  // [intermediate, hidden]
  Tensor fc1_bias;
  Weight fc2;  // [hidden, intermediate]
  Tensor fc2_bias;
};

struct AudioWeights {
  Weight conv1;  // [hidden, mel_bins, 3]
  Tensor conv1_bias;
  Weight conv2;  // [hidden, hidden, 3], stride 2
  Tensor conv2_bias;
  Weight position;  // [max_positions, hidden]
  std::vector<AudioLayerWeights> layers;
  Tensor norm, norm_bias;
};

/// relu between two linear layers.
struct AudioProjectorWeights {
  Weight linear1;  // [output, hidden]
  Tensor linear1_bias;
  Weight linear2;  // [output, output]
  Tensor linear2_bias;
};

std::span<const ParamRow<AudioConfig>> audio_params();
std::span<const TensorRow<AudioConfig, AudioWeights>> audio_tensors();
std::span<const TensorRow<AudioConfig, AudioLayerWeights>> audio_layer_tensors();
std::span<const TensorRow<AudioConfig, AudioProjectorWeights>> audio_projector_tensors();

/// Keys and values of the frames so far of one stream, for each layer [frames, hidden].
struct AudioCache {
  struct Layer {
    std::vector<float> k, v;
  };
  std::vector<Layer> layers;
  int64_t frames = 0;
};

class AudioEncoder {
 public:
  AudioEncoder(AudioConfig config, AudioWeights weights, AudioProjectorWeights projector);

  /// Whole pieces of sound of at most 30 s each -> for each piece, one after another, its rows [rows, output]. Pieces
  /// given together are encoded as the official code encodes one batch: a shorter piece may see the silence behind
  /// it, up to the end of its last chunk or of the longest piece.
  Tensor forward(Context& ctx, std::span<const MelFrames* const> pieces) const;

  /// The next part of a stream, usually a second: its frames see each other and all before them. The stream begins
  /// anew when it would hold `max_positions` frames or more.
  Tensor forward(Context& ctx, const MelFrames& part, AudioCache& cache) const;

  const AudioConfig& config() const { return config_; }
  /// The same network with chunks of another length, for checks.
  AudioEncoder with_chunks(float seconds) const;

 private:
  Tensor embeddings(Context& ctx, const MelFrames& mel, int64_t frames, int64_t first_position) const;
  Tensor encode_piece(Context& ctx, const MelFrames& mel, int64_t longest) const;
  template <typename Attend>
  void layer(Context& ctx, const AudioLayerWeights& w, Tensor x, Attend&& attend) const;
  Tensor project(Context& ctx, Tensor x) const;

  AudioConfig config_;
  AudioWeights weights_;
  AudioProjectorWeights projector_;
};

}  // namespace minicpm
