#include "engine/speech.h"

#include <algorithm>
#include <random>

#include "base/error.h"
#include "base/file_map.h"
#include "io/safetensors.h"
#include "models/cross_fade.h"
#include "models/model_config.h"
#include "models/tensor_loader.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRoundFrames = 25;       // of one call of the official decoder
constexpr int64_t kFirstPossibleEnd = 10;  // frames of a round that cannot be the last
constexpr size_t kContextFrames = 4;       // decoded again before each piece of a stream
constexpr int64_t kSegmentTokens = 120;
constexpr size_t kMaxTokenizerBytes = 64u << 20;

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// How good a place the end of `text` is for a cut: 3 a sentence's, 2 a comma's, 1 white space, 0 none.
int cut_rank(std::string_view text, uint32_t last, uint32_t before) {
  if (text.empty()) return 0;
  const auto one_of = [last](std::initializer_list<uint32_t> marks) {
    return std::ranges::find(marks, last) != marks.end();
  };
  if (last == '.') return before >= '0' && before <= '9' ? 0 : 3;
  if (one_of({'!', '?', '\n', 0x3002, 0xFF01, 0xFF1F})) return 3;         // and the wide forms
  if (one_of({',', ';', ':', 0xFF0C, 0xFF1B, 0xFF1A, 0x3001})) return 2;  // likewise
  return is_unicode_space(last) ? 1 : 0;
}

/// Numbers that are the same with every standard library.
class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int32_t from(std::span<const float> probabilities) {
    double at = static_cast<double>(random_() >> 11) * 0x1p-53, total = 0;
    for (const float p : probabilities)
      total += p;
    at *= total;
    int32_t last = 0;
    for (size_t i = 0; i < probabilities.size(); ++i) {
      if (probabilities[i] <= 0) continue;
      last = static_cast<int32_t>(i);
      if (at < probabilities[i]) break;
      at -= probabilities[i];
    }
    return last;
  }

 private:
  std::mt19937_64 random_;
};

class Maker : public SpeechMaker {
 public:
  Maker(const fs::path& folder, const BackendOptions& backend)
      : weights_(open_safetensors_folder(folder)),
        vocos_weights_(open_vocos(folder)),
        tokenizer_(read_words(folder)),
        backend_(make_cpu_backend(backend)),
        decoder_(read_speech_config(folder / "config.json"), *weights_, store_),
        dvae_(*weights_, store_),
        vocos_(*vocos_weights_, store_) {
    const auto id_of = [&](std::string_view text) {
      const auto id = tokenizer_.token_id(text);
      if (!id || *id >= config().num_text_tokens) {
        fail(ErrorCode::kBadFile, "{}: the speech decoder's tokenizer has no {}", folder.string(), text);
      }
      return *id;
    };
    start_id_ = id_of("[Stts]");
    pad_id_ = id_of("[PAD]");
    if (dvae_.config().mel_bins != vocos_.config().mel_bins) {
      fail(ErrorCode::kBadFile, "{}: the vocoder takes {} mel bins, the speech decoder makes {}", folder.string(),
           vocos_.config().mel_bins, dvae_.config().mel_bins);
    }
  }

  const SpeechConfig& config() const override { return decoder_.config(); }

  SpeechResult say(std::string_view text, std::span<const float> speaker, const SpeechOptions& options,
                   const std::function<void(std::span<const float>)>& on_samples,
                   const std::atomic<bool>* cancel) override {
    if (static_cast<int64_t>(speaker.size()) != config().llm_dim) {
      fail(ErrorCode::kInvalidRequest, "a speaker's state has {} values, expected {}", speaker.size(),
           config().llm_dim);
    }
    const int64_t most = std::min(kSegmentTokens, config().reserved_text - 1);
    const auto count = [&](std::string_view part) { return static_cast<int64_t>(tokenizer_.encode(part).size()); };
    SpeechResult result;
    Draw draw(options.seed);
    for (const std::string& segment : speech_segments(text, most, count)) {
      const std::vector<int32_t> tokens = tokenizer_.encode(segment);
      if (tokens.empty()) continue;
      ++result.segments;
      say_segment(
          tokens, speaker, options, draw, result,
          [&](std::span<const float> samples) {
            result.samples += static_cast<int64_t>(samples.size());
            if (!samples.empty()) on_samples(samples);
          },
          cancel);
    }
    return result;
  }

 private:
  using Emit = std::function<void(std::span<const float>)>;

  static std::unique_ptr<WeightSource> open_vocos(const fs::path& folder) {
    for (const fs::path& path : {folder / "assets/vocos.safetensors", folder / "vocos.safetensors"}) {
      if (fs::exists(path)) return open_safetensors(path);
    }
    fail(ErrorCode::kNotFound, "{}: the vocoder's weights are missing (assets/vocos.safetensors)", folder.string());
  }
  static WordPiece read_words(const fs::path& folder) {
    const fs::path path = folder / "assets/chattts_tokenizer/tokenizer.json";
    return WordPiece::from_json(read_file(path, kMaxTokenizerBytes), path.string());
  }

  Context context(Arena& arena) { return {*backend_, arena, Precision::kExact, nullptr}; }

  /// Start, speaker, text, its end, and padding: one token for each slot.
  std::vector<int32_t> slots_of(std::span<const int32_t> tokens) const {
    std::vector<int32_t> ids = {start_id_, static_cast<int32_t>(config().speaker_id)};
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    ids.push_back(static_cast<int32_t>(config().text_end_id));
    ids.resize(static_cast<size_t>(config().slots()), pad_id_);
    return ids;
  }

  void say_segment(std::span<const int32_t> tokens, std::span<const float> speaker, const SpeechOptions& options,
                   Draw& draw, SpeechResult& result, const Emit& emit, const std::atomic<bool>* cancel) {
    const SpeechConfig& c = config();
    const auto text_tokens = static_cast<int64_t>(tokens.size());
    const std::vector<int32_t> ids = slots_of(tokens);
    SpeechCache cache(c);
    std::vector<CodeFrame> frames;
    std::vector<float> held;
    std::vector<float> voice;
    bool ended = false;
    const int64_t most = std::min(options.max_frames, c.max_positions - c.slots() - 1);
    for (int64_t round = 0; !ended && static_cast<int64_t>(frames.size()) < most; ++round) {
      if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
        fail(ErrorCode::kCancelled, "speaking was cancelled");
      }
      Arena arena;
      Context ctx = context(arena);
      if (voice.empty()) voice = decoder_.speaker(ctx, speaker);
      const int64_t begin = round == 0 ? 0 : std::min(2 + c.text_chunk * round, c.slots());
      const int64_t end = std::min(2 + c.text_chunk * (round + 1), c.slots());
      if (begin < end) decoder_.prefill_text(ctx, cache, std::span(ids).subspan(begin, end - begin), begin, voice);
      const size_t before = frames.size();
      ended = generate(ctx, cache, frames, std::min(kRoundFrames, most - static_cast<int64_t>(frames.size())),
                       text_tokens, options.sampling, draw);
      if (options.streaming) stream(ctx, frames, before, held, emit);
    }
    result.frames += static_cast<int64_t>(frames.size());
    result.cut_short = result.cut_short || !ended;
    if (options.streaming) {
      emit(held);
    } else if (!frames.empty()) {
      Arena arena;
      Context ctx = context(arena);
      emit(vocos_.decode(ctx, dvae_.decode(ctx, frames)));
    }
  }

  /// Draws up to `count` frames; true when the speech has ended, whose last frame is not kept.
  bool generate(Context& ctx, SpeechCache& cache, std::vector<CodeFrame>& frames, int64_t count, int64_t text_tokens,
                const SpeechSampling& sampling, Draw& draw) {
    const int64_t end = config().end_code();
    for (int64_t i = 0; i < count; ++i) {
      ArenaScope scratch(ctx.arena);
      const Tensor logits = decoder_.step(ctx, cache, frames.empty() ? nullptr : &frames.back(), text_tokens);
      CodeFrame frame;
      bool last = false;
      for (int q = 0; q < kCodebooks; ++q) {
        const auto row = std::span(logits.f32_row(q), static_cast<size_t>(logits.dim(1)));
        const int64_t banned = i < kFirstPossibleEnd ? end : -1;
        const std::vector<float> p = code_probabilities(row, q, frames, sampling, banned);
        frame[q] = draw.from(p);
        last = last || frame[q] == end;
      }
      if (last) return true;
      frames.push_back(frame);
    }
    return false;
  }

  /// The frames since `begin` as sound, with some before them for context; what overlaps the next piece is held back.
  void stream(Context& ctx, std::span<const CodeFrame> frames, size_t begin, std::vector<float>& held,
              const Emit& emit) {
    if (begin == frames.size()) return;
    const size_t from = begin > kContextFrames ? begin - kContextFrames : 0;
    const std::vector<float> wave = vocos_.decode(ctx, dvae_.decode(ctx, frames.subspan(from)));
    if (wave.size() < kSpeechOverlap) {  // a very short end
      held.insert(held.end(), wave.begin(), wave.end());
      return;
    }
    if (held.empty()) {
      emit(std::span(wave).first(wave.size() - kSpeechOverlap));
      held.assign(wave.end() - static_cast<ptrdiff_t>(kSpeechOverlap), wave.end());
      return;
    }
    const std::vector<float> joined = cross_fade(held, wave);
    emit(std::span(joined).first(held.size()));
    held.assign(joined.begin() + static_cast<ptrdiff_t>(held.size()), joined.end());
  }

  std::unique_ptr<WeightSource> weights_, vocos_weights_;
  WordPiece tokenizer_;
  std::unique_ptr<Backend> backend_;
  ConvertedStore store_;
  SpeechDecoder decoder_;
  Dvae dvae_;
  Vocos vocos_;
  int32_t start_id_ = 0, pad_id_ = 0;
};

}  // namespace

std::vector<std::string> speech_segments(std::string_view text, int64_t most,
                                         const std::function<int64_t(std::string_view)>& count_tokens) {
  std::vector<std::string> segments;
  while (!is_blank(text)) {
    // The best cut that fits; of equals the last.
    size_t best = 0;
    int best_rank = -1;
    uint32_t before = 0;
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = next_utf8(text.substr(at));
      at += step.length;
      const int rank = at == text.size() ? 4 : cut_rank(text.substr(0, at), step.code_point, before);
      before = step.code_point;
      const bool worth = rank > 0 || best_rank <= 0;
      if (worth && rank >= best_rank && count_tokens(text.substr(0, at)) <= most) {
        best = at;
        best_rank = rank;
      } else if (worth && static_cast<int64_t>(at) > 64 * most) {
        break;  // far beyond what fits
      }
    }
    if (best == 0) best = next_utf8(text).length;
    if (!is_blank(text.substr(0, best))) segments.emplace_back(text.substr(0, best));
    text.remove_prefix(best);
  }
  return segments;
}

std::unique_ptr<SpeechMaker> SpeechMaker::load(const fs::path& folder, const BackendOptions& backend) {
  return std::make_unique<Maker>(folder, backend);
}

}  // namespace minicpm
