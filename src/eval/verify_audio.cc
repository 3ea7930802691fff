// Cases of the sound encoder: features, encoder and projection, whole and as a stream.
#include <algorithm>
#include <map>

#include "base/file_map.h"
#include "eval/case_data.h"
#include "io/safetensors.h"
#include "media/sound.h"
#include "models/loaded_model.h"

namespace minicpm {
namespace {

constexpr size_t kMaxCaseBytes = 64u << 20;

/// [rows, cols] -> [cols, rows].
std::vector<float> transposed(std::span<const float> values, int64_t rows, int64_t cols) {
  std::vector<float> result(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c)
      result[c * rows + r] = values[r * cols + c];
  }
  return result;
}

std::span<const float> floats(const Tensor& t) {
  return {t.f32(), static_cast<size_t>(t.numel())};
}

class AudioCase {
 public:
  AudioCase(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report)
      : folder_(folder),
        json_(parse_json(read_file(folder / "case.json", kMaxCaseBytes), (folder / "case.json").string())),
        expected_(open_safetensors(folder / "expected.safetensors")),
        checker_(json_.at("case").get<std::string>(), *expected_, report),
        backend_(make_cpu_backend(options.backend)) {
    const std::filesystem::path weights = folder.parent_path() / json_.at("weights_from").get<std::string>();
    model_ = LoadedModel::load_networks(read_hf_config(weights / "config.json", weights / "preprocessor_config.json"),
                                        open_safetensors(weights / "model.safetensors"), nullptr);
    for (const Json& name : json_.at("batch_order")) {
      names_.push_back(name.get<std::string>());
      sounds_.push_back(read_sound(folder / (names_.back() + ".wav")).samples);
      mels_.push_back(mel_.extract(sounds_.back()));
    }
  }

  void run() {
    checker_.check_floats("mel_filters", mel_.filters());
    for (size_t i = 0; i < names_.size(); ++i)
      checker_.check_floats("mel/" + names_[i], transposed(mels_[i].values, mels_[i].frames, mels_[i].bins));
    check_batch("full", 0);
    check_batch("chunk1", 1.0f);
    check_batch("chunk0.4", 0.4f);
    for (size_t i = 0; i < names_.size(); ++i)
      check_alone(i);
    check_stream();
    checker_.finish();
  }

 private:
  /// Keeps what the encoder reports of each piece.
  struct Recorder : Tracer {
    void record(std::string_view name, const Tensor& value) override {
      const std::string key(name);
      tensors[key].emplace_back(value.f32(), value.f32() + value.numel());
    }
    std::map<std::string, std::vector<std::vector<float>>> tensors;
  };

  AudioEncoder encoder(float chunk_seconds) const { return model_->audio().with_chunks(chunk_seconds); }

  void check_if_expected(const std::string& name, std::span<const float> values) {
    if (checker_.has(name)) checker_.check_floats(name, values);
  }

  void check_batch(const std::string& prefix, float chunk_seconds) {
    Recorder recorder;
    Arena arena;
    Context ctx{*backend_, arena, Precision::kExact, &recorder};
    const AudioEncoder audio = encoder(chunk_seconds);
    std::vector<const MelFrames*> pieces;
    for (const MelFrames& mel : mels_)
      pieces.push_back(&mel);
    const Tensor rows = audio.forward(ctx, pieces);
    const int64_t hidden = audio.config().hidden_size;
    int64_t row = 0;
    for (size_t i = 0; i < names_.size(); ++i) {
      const int64_t frames = AudioConfig::encoder_frames(mels_[i].frames), count = audio.config().rows(frames);
      checker_.check_floats(prefix + "/embeds/" + names_[i], floats(rows.slice(row, row + count)));
      row += count;
      check_if_expected(prefix + "/encoder/" + names_[i], recorder.tensors["audio.output"][i]);
      for (int64_t l = 0; l < audio.config().num_layers; ++l) {
        check_if_expected(fmt::format("{}/layer{}/{}", prefix, l, names_[i]),
                          recorder.tensors[fmt::format("audio.layer{}", l)][i]);
      }
      for (const char* part : {"conv1", "conv2"}) {
        const std::vector<float>& values = recorder.tensors[std::string("audio.") + part][i];
        const auto count_of = static_cast<int64_t>(values.size()) / hidden;
        check_if_expected(fmt::format("{}/{}/{}", prefix, part, names_[i]), transposed(values, count_of, hidden));
      }
    }
  }

  void check_alone(size_t i) {
    Arena arena;
    Context ctx{*backend_, arena, Precision::kExact, nullptr};
    const MelFrames* piece[] = {&mels_[i]};
    checker_.check_floats("alone/embeds/" + names_[i], floats(encoder(1.0f).forward(ctx, piece)));
  }

  /// The first sound in seconds.
  void check_stream() {
    AudioCache cache;
    const AudioEncoder audio = encoder(1.0f);
    for (int64_t second = 0; checker_.has(fmt::format("stream/mel.{}", second)); ++second) {
      const auto samples = std::span(sounds_[0]).subspan(static_cast<size_t>(second * kAudioRate), kAudioRate);
      const MelFrames mel = mel_.extract(samples);
      checker_.check_floats(fmt::format("stream/mel.{}", second), transposed(mel.values, mel.frames, mel.bins));
      Arena arena;
      Context ctx{*backend_, arena, Precision::kExact, nullptr};
      checker_.check_floats(fmt::format("stream/embeds.{}", second), floats(audio.forward(ctx, mel, cache)));
    }
    // The reference has heads before frames.
    const int64_t frames = cache.frames, heads = audio.config().num_heads, d = audio.config().head_dim;
    std::vector<float> keys;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t t = 0; t < frames; ++t) {
        const float* row = cache.layers[0].k.data() + (t * heads + h) * d;
        keys.insert(keys.end(), row, row + d);
      }
    }
    checker_.check_floats("stream/k_cache_layer0", keys);
  }

  std::filesystem::path folder_;
  Json json_;
  std::unique_ptr<WeightSource> expected_;
  CaseChecker checker_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LoadedModel> model_;
  LogMel mel_;
  std::vector<std::string> names_;
  std::vector<std::vector<float>> sounds_;
  std::vector<MelFrames> mels_;
};

}  // namespace

void verify_audio(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report) {
  AudioCase(folder, options, report).run();
}

}  // namespace minicpm
