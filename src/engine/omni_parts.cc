#include "engine/omni_parts.h"

#include "models/loaded_model.h"

namespace minicpm {
namespace {

class DecoderVoice : public AnswerVoice {
 public:
  explicit DecoderVoice(std::unique_ptr<SpeechStream> stream) : stream_(std::move(stream)) {}
  void push(std::string_view text) override { stream_->push(text); }
  void finish() override { stream_->finish(); }

 private:
  std::unique_ptr<SpeechStream> stream_;
};

}  // namespace

OmniParts make_omni_parts(Engine& engine, const Processor& processor, SpeechMaker* speech,
                          const OmniPartsOptions& options) {
  const LoadedModel& model = engine.model();
  if (!model.has_audio()) {
    fail(ErrorCode::kInvalidRequest, "{} cannot hear: live sessions need MiniCPM-o 2.6 with its sound encoder",
         model.version().title);
  }
  OmniParts parts;
  parts.processor = &processor;
  parts.stream = engine.open_stream();
  parts.encoder = make_piece_encoder(model, options.backend, options.precision);
  if (options.detector != "off") parts.detector = make_voice_detector(options.detector);
  if (speech != nullptr) {
    parts.voice = [speech, settings = options.speech](std::vector<float> speaker,
                                                      std::function<void(std::span<const float>)> on_samples,
                                                      const std::atomic<bool>* cancel) -> std::unique_ptr<AnswerVoice> {
      return std::make_unique<DecoderVoice>(speech->stream(speaker, settings, std::move(on_samples), cancel));
    };
  }
  return parts;
}

}  // namespace minicpm
