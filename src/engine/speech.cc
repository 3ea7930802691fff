#include "engine/speech.h"

#include "base/error.h"
#include "engine/speech_stream.h"
#include "models/speech_files.h"
#include "models/tensor_loader.h"
#include "text/wordpiece.h"

namespace minicpm {
namespace {

class Maker : public SpeechMaker {
 public:
  Maker(SpeechSources sources, const BackendOptions& backend)
      : weights_(std::move(sources.weights)),
        vocos_weights_(std::move(sources.vocoder)),
        tokenizer_(WordPiece::from_json(sources.words, sources.path)),
        backend_(make_cpu_backend(backend)),
        decoder_(sources.config, *weights_, store_),
        dvae_(*weights_, store_),
        vocos_(vocos_weights_ != nullptr ? *vocos_weights_ : *weights_, store_, sources.vocoder_prefix) {
    const auto id_of = [&](std::string_view text) {
      const auto id = tokenizer_.token_id(text);
      if (!id || *id >= config().num_text_tokens) {
        fail(ErrorCode::kBadFile, "{}: the speech decoder's tokenizer has no {}", sources.path, text);
      }
      return *id;
    };
    start_id_ = id_of("[Stts]");
    if (dvae_.config().mel_bins != vocos_.config().mel_bins) {
      fail(ErrorCode::kBadFile, "{}: the vocoder takes {} mel bins, the speech decoder makes {}", sources.path,
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
  SpeechParts parts() { return {*backend_, tokenizer_, decoder_, dvae_, vocos_, start_id_}; }

  std::unique_ptr<WeightSource> weights_, vocos_weights_;  // the second may be null
  WordPiece tokenizer_;
  std::unique_ptr<Backend> backend_;
  ConvertedStore store_;
  SpeechDecoder decoder_;
  Dvae dvae_;
  Vocos vocos_;
  int32_t start_id_ = 0;
};

}  // namespace

std::unique_ptr<SpeechMaker> SpeechMaker::load(const ModelFiles& files, const BackendOptions& backend) {
  return std::make_unique<Maker>(open_speech(files), backend);
}

}  // namespace minicpm
