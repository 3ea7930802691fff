// WebRTC's voice detector and echo canceller, through its audio processing module.
#include <webrtc/modules/audio_processing/include/audio_processing.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "media/live/live.h"

namespace minicpm::live {
namespace {

using webrtc::AudioProcessing;

constexpr int kMicrophoneRate = 16000, kSpeakerRate = 24000;
constexpr size_t kMicrophoneFrame = kMicrophoneRate / 100, kSpeakerFrame = kSpeakerRate / 100;  // 10 ms

std::unique_ptr<AudioProcessing> make_processing(const webrtc::Config& config) {
  std::unique_ptr<AudioProcessing> made(AudioProcessing::Create(config));
  if (made == nullptr) fail(ErrorCode::kInternal, "WebRTC's audio processing cannot be set up");
  return made;
}

void check(int error, const char* what) {
  if (error != AudioProcessing::kNoError) fail(ErrorCode::kInternal, "WebRTC's {} failed with code {}", what, error);
}

/// One call of the module; `out` gets as many samples.
void process(AudioProcessing& module, const float* frame, float* out) {
  const webrtc::StreamConfig mono(kMicrophoneRate, 1);
  check(module.ProcessStream(&frame, mono, mono, &out), "sound processing");
}

class WebrtcDetector : public VoiceDetector {
 public:
  WebrtcDetector() : module_(make_processing(webrtc::Config())) {
    check(module_->voice_detection()->set_likelihood(webrtc::VoiceDetection::kLowLikelihood), "voice detector");
    check(module_->voice_detection()->Enable(true), "voice detector");
  }
  float judge(std::span<const float> frame) override {
    std::vector<float> samples(frame.begin(), frame.end()), out(kMicrophoneFrame);
    samples.resize(kMicrophoneFrame);
    process(*module_, samples.data(), out.data());
    return module_->voice_detection()->stream_has_voice() ? 1.0f : 0.0f;
  }
  std::string_view name() const override { return "webrtc"; }

 private:
  std::unique_ptr<AudioProcessing> module_;
};

/// Takes whole frames of `size` out of `rest` and what comes new.
template <typename Fn>
void each_frame(std::vector<float>& rest, std::span<const float> samples, size_t size, Fn&& fn) {
  rest.insert(rest.end(), samples.begin(), samples.end());
  size_t at = 0;
  for (; rest.size() - at >= size; at += size)
    fn(rest.data() + at);
  rest.erase(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(at));
}

class WebrtcCanceller : public EchoCanceller {
 public:
  WebrtcCanceller() : module_(make_module()) {
    check(module_->echo_cancellation()->enable_drift_compensation(false), "echo canceller");
    check(module_->echo_cancellation()->set_suppression_level(webrtc::EchoCancellation::kHighSuppression),
          "echo canceller");
    check(module_->echo_cancellation()->Enable(true), "echo canceller");
    check(module_->high_pass_filter()->Enable(true), "high-pass filter");
  }

  void played(std::span<const float> samples) override {
    const std::lock_guard lock(mutex_);
    each_frame(played_, samples, kSpeakerFrame, [&](const float* frame) {
      float out[kSpeakerFrame];
      float* outs = out;
      const webrtc::StreamConfig mono(kSpeakerRate, 1);
      check(module_->ProcessReverseStream(&frame, mono, mono, &outs), "echo canceller");
    });
  }

  std::vector<float> heard(std::span<const float> samples) override {
    const std::lock_guard lock(mutex_);
    std::vector<float> result;
    each_frame(heard_, samples, kMicrophoneFrame, [&](const float* frame) {
      float out[kMicrophoneFrame];
      // A first guess; the module finds the true delay by itself.
      module_->set_stream_delay_ms(60);
      process(*module_, frame, out);
      result.insert(result.end(), out, out + kMicrophoneFrame);
    });
    return result;
  }

 private:
  static std::unique_ptr<AudioProcessing> make_module() {
    webrtc::Config config;
    config.Set(new webrtc::DelayAgnostic(true));  // owned by the configuration
    config.Set(new webrtc::ExtendedFilter(true));
    return make_processing(config);
  }

  std::mutex mutex_;
  std::unique_ptr<AudioProcessing> module_;
  std::vector<float> played_, heard_;
};

}  // namespace

std::unique_ptr<VoiceDetector> make_webrtc_detector() {
  return std::make_unique<WebrtcDetector>();
}

std::unique_ptr<EchoCanceller> make_webrtc_canceller() {
  return std::make_unique<WebrtcCanceller>();
}

}  // namespace minicpm::live
