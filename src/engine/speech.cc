#include "engine/speech.h"

#include "base/error.h"
#include "base/file_map.h"
#include "engine/speech_files.h"
#include "engine/speech_stream.h"
#include "io/safetensors.h"
#include "io/torch_file.h"
#include "models/model_config.h"
#include "models/tensor_loader.h"
#include "text/wordpiece.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTokenizerBytes = 64u << 20;

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
    if (dvae_.config().mel_bins != vocos_.config().mel_bins) {
      fail(ErrorCode::kBadFile, "{}: the vocoder takes {} mel bins, the speech decoder makes {}", folder.string(),
           vocos_.config().mel_bins, dvae_.config().mel_bins);
    }
  }

  const SpeechConfig& config() const override { return decoder_.config(); }

  std::unique_ptr<SpeechStream> stream(std::span<const float> speaker, const SpeechOptions& options,
                                       std::function<void(std::span<const float>)> on_samples,
                                       const std::atomic<bool>* cancel) override {
    return make_speech_stream(parts(), speaker, options, SpeechPieces::kRounds, std::move(on_samples), cancel);
  }

  SpeechResult say(std::string_view text, std::span<const float> speaker, const SpeechOptions& options,
                   const std::function<void(std::span<const float>)>& on_samples,
                   const std::atomic<bool>* cancel) override {
    const auto pieces = options.streaming ? SpeechPieces::kRounds : SpeechPieces::kSegments;
    const auto stream = make_speech_stream(parts(), speaker, options, pieces, on_samples, cancel);
    stream->push(text);
    return stream->finish();
  }

 private:
  static std::unique_ptr<WeightSource> open_vocos(const fs::path& folder) {
    const fs::path path = find_vocoder(folder);
    if (path.empty()) {
      fail(ErrorCode::kNotFound, "{}: the vocoder's weights are missing (assets/Vocos.pt or assets/vocos.safetensors)",
           folder.string());
    }
    return path.extension() == ".pt" ? open_torch_file(path) : open_safetensors(path);
  }
  static WordPiece read_words(const fs::path& folder) {
    const fs::path path = speech_words_file(folder);
    return WordPiece::from_json(read_file(path, kMaxTokenizerBytes), path.string());
  }

  SpeechParts parts() { return {*backend_, tokenizer_, decoder_, dvae_, vocos_, start_id_}; }

  std::unique_ptr<WeightSource> weights_, vocos_weights_;
  WordPiece tokenizer_;
  std::unique_ptr<Backend> backend_;
  ConvertedStore store_;
  SpeechDecoder decoder_;
  Dvae dvae_;
  Vocos vocos_;
  int32_t start_id_ = 0;
};

}  // namespace

std::unique_ptr<SpeechMaker> SpeechMaker::load(const fs::path& folder, const BackendOptions& backend) {
  return std::make_unique<Maker>(folder, backend);
}

}  // namespace minicpm
