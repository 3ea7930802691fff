#include <algorithm>

#include "engine/omni_stages.h"
#include "media/vocoder_mel.h"

namespace minicpm {
namespace {

constexpr size_t kPieceSamples = 2400;  // of one event: a tenth of a second

/// One stage of one answer after the other.
class Speaker {
 public:
  Speaker(OmniShared& shared, const VoiceMaker& make_voice) : shared_(shared), make_voice_(make_voice) {}

  void take(OmniWords& words) {
    const OmniClock::time_point start = OmniClock::now();
    waited_ms_ = 0;
    try {
      speak(words);
    } catch (const std::exception& error) {
      voice_ = nullptr;  // the rest is not spoken
      const auto* known = dynamic_cast<const Error*>(&error);
      const bool cancelled = is_over(words.epoch) && known != nullptr && known->code() == ErrorCode::kCancelled;
      if (!cancelled) shared_.tell_error(error, words.turn->number);
    }
    words.turn->timings.speak_ms += ms_between(start, OmniClock::now()) - waited_ms_;
    if (words.kind != OmniWords::Kind::kEnd) return;
    voice_ = nullptr;
    shared_.sound.push({words.epoch, words.turn, {}, true});
  }

 private:
  void speak(OmniWords& words) {
    switch (words.kind) {
      case OmniWords::Kind::kBegin:
        voice_ = nullptr;
        if (make_voice_ && !words.speaker.empty())
          voice_ = make_voice_(std::move(words.speaker), on_samples(words), &words.epoch->over);
        return;
      case OmniWords::Kind::kText:
        if (voice_ != nullptr) voice_->push(words.text);
        return;
      case OmniWords::Kind::kEnd:
        if (voice_ != nullptr) voice_->finish();
        return;
    }
  }

  std::function<void(std::span<const float>)> on_samples(const OmniWords& words) {
    return [this, epoch = words.epoch, turn = words.turn](std::span<const float> samples) {
      if (samples.empty() || is_over(epoch)) return;
      const OmniClock::time_point start = OmniClock::now();
      shared_.sound.push({epoch, turn, {samples.begin(), samples.end()}, false});
      waited_ms_ += ms_between(start, OmniClock::now());  // for the client: not the decoder's work
    };
  }

  OmniShared& shared_;
  const VoiceMaker& make_voice_;
  std::unique_ptr<AnswerVoice> voice_;
  double waited_ms_ = 0;
};

void render(OmniShared& shared, const OmniSound& sound) {
  OmniTimings& timings = sound.turn->timings;
  for (std::span<const float> rest(sound.samples); !rest.empty();) {
    const auto piece = rest.first(std::min(rest.size(), kPieceSamples));
    rest = rest.subspan(piece.size());
    if (timings.spoken_seconds == 0) timings.first_audio_ms = ms_between(sound.turn->ended, OmniClock::now());
    timings.spoken_seconds += static_cast<double>(piece.size()) / static_cast<double>(kSpeechRate);
    OmniEvent event;
    event.kind = OmniEvent::Kind::kAudio;
    event.turn = sound.turn->number;
    event.samples.assign(piece.begin(), piece.end());
    shared.delivered(sound.epoch, static_cast<int64_t>(piece.size()));
    shared.tell(std::move(event), sound.epoch);
    if (is_over(sound.epoch)) return;
  }
  if (!sound.last || !shared.end_answer(sound.epoch)) return;
  timings.answer_ms = ms_between(sound.turn->ended, OmniClock::now());
  OmniEvent event;
  event.kind = OmniEvent::Kind::kAnswerEnds;
  event.turn = sound.turn->number;
  event.text = sound.turn->text;
  event.finish_reason = sound.turn->finish_reason;
  event.timings = timings;
  shared.tell(std::move(event));
}

}  // namespace

void run_omni_speaker(OmniShared& shared, const VoiceMaker& make_voice) {
  Speaker speaker(shared, make_voice);
  while (std::optional<OmniWords> words = shared.words.pop()) {
    if (shared.closed()) return;
    speaker.take(*words);
  }
}

void run_omni_renderer(OmniShared& shared) {
  while (std::optional<OmniSound> sound = shared.sound.pop()) {
    if (shared.closed()) return;
    render(shared, *sound);
  }
}

}  // namespace minicpm
