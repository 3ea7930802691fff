// Between audio codes and sound: the DVAE (codes to mel frames, and back where the checkpoint holds its encoder) and
// the Vocos vocoder (mel frames to samples). Both keep time in rows.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "io/weight_source.h"
#include "models/convolution.h"

namespace minicpm {

class ConvertedStore;

inline constexpr int kCodebooks = 4;
/// One frame of codes: two groups of two residual steps each, 0..624.
using CodeFrame = std::array<int32_t, kCodebooks>;

/// Sizes, which stand in no configuration file: they are read from the tensors.
struct DvaeConfig {
  int64_t group_dim = 0;  // of a group's features
  int64_t mid = 0, dim = 0, inner = 0, out = 0;
  int64_t num_layers = 0;
  int64_t mel_bins = 0;
  int64_t levels = 4, one = 1, kernel3 = 3, kernel4 = 4, kernel7 = 7;
  // Of the encoder, for checkpoints that hold it.
  int64_t encoder_out = 0;  // 2 * group_dim
  int64_t encoder_layers = 0;
};

struct DvaeWeights {
  struct Group {
    Tensor out, out_bias;  // [group_dim, levels], [group_dim]
    Weight in;             // [levels, group_dim]; of the encoder
    Tensor in_bias;
  };
  Group groups[2];
  Weight conv_in0, conv_in2, conv_out, out_conv;
  Tensor conv_in0_bias, conv_in2_bias;
  std::vector<ConvNextWeights> layers;
  Tensor coef;  // [1, mel_bins, 1]
  // Of the encoder.
  Weight down0, down2, enc_in0, enc_in2, enc_out;
  Tensor down0_bias, down2_bias, enc_in0_bias, enc_in2_bias;
  std::vector<ConvNextWeights> encoder_layers;
};

/// Codes to mel frames of 24 kHz sound (100 bins, hop 256), two for each frame of codes, and back.
class Dvae {
 public:
  /// Tensors under "tts.dvae."; their views stay in `source`. Throws Error bad_file.
  Dvae(const WeightSource& source, ConvertedStore& store);

  /// -> [2 * codes.size(), mel_bins].
  Tensor decode(Context& ctx, std::span<const CodeFrame> codes) const;
  /// The features that a frame's codes stand for: [codes.size(), 2 * group_dim], group after group.
  Tensor features(Context& ctx, std::span<const CodeFrame> codes) const;

  /// Mel frames [n, mel_bins] to n / 2 frames of codes. Throws Error unsupported where the checkpoint has no encoder.
  std::vector<CodeFrame> encode(Context& ctx, Tensor mel) const;

  const DvaeConfig& config() const { return config_; }

 private:
  DvaeConfig config_;
  DvaeWeights weights_;
};

struct VocosConfig {
  int64_t mel_bins = 0, dim = 0, inner = 0, spectrum = 0;  // spectrum: n_fft + 2
  int64_t num_layers = 0;
  int64_t one = 1, kernel = 7;

  int64_t n_fft() const { return spectrum - 2; }
  int64_t hop() const { return n_fft() / 4; }
};

struct VocosWeights {
  Weight embed;
  Tensor embed_bias;
  Tensor norm, norm_bias;
  std::vector<ConvNextWeights> layers;
  Tensor final_norm, final_norm_bias;
  Weight head;
  Tensor head_bias;
};

class Vocos {
 public:
  /// Tensors "backbone.*" and "head.out.*" behind `prefix`. Throws Error bad_file.
  Vocos(const WeightSource& source, ConvertedStore& store, std::string_view prefix = "");

  /// mel [frames, mel_bins] -> frames * hop samples at 24 kHz.
  std::vector<float> decode(Context& ctx, Tensor mel) const;

  const VocosConfig& config() const { return config_; }

 private:
  VocosConfig config_;
  VocosWeights weights_;
};

}  // namespace minicpm
