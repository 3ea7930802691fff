// The speech decoder of MiniCPM-o 2.6: a small Llama that turns text tokens and a speaker's vector into audio codes,
// four a frame, 46.875 frames a second. Text comes in chunks while frames are made; which text a frame sees follows a
// fixed schedule.
#pragma once

#include <optional>
#include <random>
#include <span>
#include <vector>

#include "models/decoder.h"
#include "models/vocoder.h"

namespace minicpm {

struct SpeechConfig {
  int64_t llm_dim = 0;  // of the language model's hidden state
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t intermediate_size = 0;
  int64_t max_positions = 4096;
  int64_t num_text_tokens = 0;
  int64_t num_audio_tokens = 626;  // codes 0..624, and the end
  int64_t num_vq = kCodebooks;
  int64_t speaker_id = 0, audio_start_id = 0, text_end_id = 0;  // of text tokens
  int64_t text_chunk = 10;                                      // text tokens that become visible together
  int64_t audio_chunk = 50;                                     // frames until the next ones do
  int64_t reserved_text = 300;                                  // places for text
  int64_t one = 1;

  /// Checks the sizes. Throws Error bad_file naming `source`.
  void finish(std::string_view source);

  /// Places before the frames: start, speaker, text.
  int64_t slots() const { return 2 + reserved_text; }
  int64_t end_code() const { return num_audio_tokens - 1; }
  /// How many of the places a frame at `position` sees, with that many text tokens: start and speaker, the chunks that
  /// are due, and no more than the text with one end token.
  int64_t visible_slots(int64_t position, int64_t text_tokens) const;
};

std::span<const ParamRow<SpeechConfig>> speech_params();

struct SpeechSampling {
  float temperature[kCodebooks] = {0.1f, 0.3f, 0.1f, 0.3f};
  float top_p = 0.7f;
  int top_k = 20;
  float repetition_penalty = 1.0f;
};

/// Probabilities of one codebook's next code. The first frame of a text is drawn by temperature alone.
/// `history`: frames so far, of which the last 16 count for the penalty. `banned`: a code that passes the filters but
/// cannot be drawn; negative: none.
std::vector<float> code_probabilities(std::span<const float> logits, int codebook, std::span<const CodeFrame> history,
                                      const SpeechSampling& sampling, int64_t banned = -1);

/// Keys and values of one utterance.
class SpeechCache {
 public:
  explicit SpeechCache(const SpeechConfig& config);
  /// The position that comes next: slots() for the start of the audio, then frames.
  int64_t position() const { return position_; }
  /// Forgets the frames from there on.
  void rewind(int64_t position);

 private:
  friend class SpeechDecoder;
  // Text lies in reverse before the frames, so that whatever a row sees, attention being indifferent to the order of
  // keys, is one range: slot j in row slots - 1 - j, frame i in row slots + i.
  struct Layer {
    std::vector<float> k, v;
  };
  std::vector<Layer> layers_;
  int64_t position_;
};

class SpeechDecoder {
 public:
  /// Tensors under "tts."; their views stay in `source`. Throws Error bad_file.
  SpeechDecoder(const SpeechConfig& config, const WeightSource& source, ConvertedStore& store);

  /// The language model's hidden state at the speaker token [llm_dim] -> the vector for the speaker's place [hidden].
  std::vector<float> speaker(Context& ctx, std::span<const float> hidden) const;

  /// Text tokens into places [begin, begin + ids.size()); each sees those before it. The token speaker_id gets the
  /// speaker's vector.
  void prefill_text(Context& ctx, SpeechCache& cache, std::span<const int32_t> ids, int64_t begin,
                    std::span<const float> speaker) const;

  /// Frames of an earlier utterance that the next ones go on from. They see each other, all of them, as the official
  /// code has it.
  void prefill_audio(Context& ctx, SpeechCache& cache, std::span<const CodeFrame> frames, int64_t text_tokens) const;

  /// Logits of the next frame, [num_vq, num_audio_tokens]. `last`: the frame before; null for the first one.
  Tensor step(Context& ctx, SpeechCache& cache, const CodeFrame* last, int64_t text_tokens) const;

  const SpeechConfig& config() const { return config_; }
  /// The text embeddings that prefill_text begins with.
  Tensor embed_text(Context& ctx, std::span<const int32_t> ids, std::span<const float> speaker) const;

 private:
  struct Range {
    int64_t begin, end;  // rows of the cache
  };
  Tensor embed_codes(Context& ctx, std::span<const CodeFrame> frames) const;
  /// Runs rows x at these positions through all layers; row r's keys go to cache row rows[r] (below 0: nowhere), and it
  /// sees seen[r].
  void run(Context& ctx, SpeechCache& cache, Tensor x, std::span<const int32_t> positions,
           std::span<const int64_t> rows, std::span<const Range> seen) const;

  SpeechConfig config_;
  DecoderConfig decoder_;
  std::vector<DecoderLayerWeights> layers_;
  Tensor norm_;
  Weight emb_text_;
  std::vector<Weight> emb_code_, head_code_;
  struct Projector {
    Weight linear1, linear2;
    Tensor linear1_bias, linear2_bias;
  } projector_;
  std::vector<float> inv_freq_;
};

}  // namespace minicpm
