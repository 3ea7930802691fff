#include <alsa/asoundlib.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "media/live/live.h"

namespace minicpm::live {
namespace {

constexpr unsigned kRate = 24000;
constexpr unsigned kLatencyUs = 100'000;  // of the device's buffer
constexpr size_t kPart = 480;             // samples of one call: 20 ms

// In place of ALSA's own, which prints.
void ignore_error(const char* /*file*/, int /*line*/, const char* /*function*/, int /*code*/, const char* /*format*/,
                  ...) {}

class AlsaSpeaker : public Speaker {
 public:
  explicit AlsaSpeaker(const std::string& device) : name_(device) {
    snd_lib_error_set_handler(ignore_error);
    int error = snd_pcm_open(&pcm_, device.c_str(), SND_PCM_STREAM_PLAYBACK, 0);
    if (error < 0) fail(ErrorCode::kIo, "the sound device {} cannot be opened: {}", name_, snd_strerror(error));
    // ALSA resamples where the device has other rates.
    error = snd_pcm_set_params(pcm_, SND_PCM_FORMAT_FLOAT, SND_PCM_ACCESS_RW_INTERLEAVED, 1, kRate, 1, kLatencyUs);
    if (error < 0) {
      snd_pcm_close(pcm_);
      fail(ErrorCode::kIo, "the sound device {} takes no mono sound at {} Hz: {}", name_, kRate, snd_strerror(error));
    }
  }
  ~AlsaSpeaker() override { snd_pcm_close(pcm_); }
  AlsaSpeaker(const AlsaSpeaker&) = delete;
  AlsaSpeaker& operator=(const AlsaSpeaker&) = delete;

  void write(std::span<const float> samples) override {
    const uint64_t round = drops_;
    while (!samples.empty()) {
      const auto part = samples.first(std::min(samples.size(), kPart));
      const std::lock_guard lock(mutex_);
      if (drops_ != round) return;
      snd_pcm_sframes_t done = snd_pcm_writei(pcm_, part.data(), part.size());
      if (done < 0) done = snd_pcm_recover(pcm_, static_cast<int>(done), 1);
      if (done < 0) {
        fail(ErrorCode::kIo, "the sound device {} fails: {}", name_, snd_strerror(static_cast<int>(done)));
      }
      samples = samples.subspan(static_cast<size_t>(done));
    }
    // A short sound does not fill the buffer that starts the device.
    const std::lock_guard lock(mutex_);
    if (snd_pcm_state(pcm_) == SND_PCM_STATE_PREPARED && snd_pcm_avail(pcm_) >= 0) snd_pcm_start(pcm_);
  }

  void drop() override {
    ++drops_;
    const std::lock_guard lock(mutex_);
    snd_pcm_drop(pcm_);
    snd_pcm_prepare(pcm_);
  }

  int64_t waiting() const override {
    const std::lock_guard lock(mutex_);
    snd_pcm_sframes_t delay = 0;
    const bool running = snd_pcm_state(pcm_) == SND_PCM_STATE_RUNNING && snd_pcm_delay(pcm_, &delay) == 0;
    return running ? std::max<int64_t>(0, delay) : 0;
  }

 private:
  std::string name_;
  mutable std::mutex mutex_;
  std::atomic<uint64_t> drops_ = 0;
  snd_pcm_t* pcm_ = nullptr;
};

}  // namespace

std::unique_ptr<Speaker> open_alsa_speaker(const std::string& device) {
  return std::make_unique<AlsaSpeaker>(device);
}

}  // namespace minicpm::live
