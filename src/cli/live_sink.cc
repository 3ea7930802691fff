#include "cli/live_sink.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/file_map.h"
#include "media/sound_writer.h"
#include "media/vocoder_mel.h"

namespace minicpm::cli {
namespace {

constexpr size_t kPart = 2400;  // samples of one call of the device: 100 ms

class FileSink : public LiveSink {
 public:
  explicit FileSink(std::string file) : file_(std::move(file)), format_(sound_format(file_)) {}
  void take(std::span<const float> samples) override {
    samples_.insert(samples_.end(), samples.begin(), samples.end());
  }
  void silence() override {}
  void finish() override {
    write_file_atomically(file_, encode_sound(samples_, static_cast<int>(kSpeechRate), format_));
  }

 private:
  std::string file_;
  SoundFormat format_;
  std::vector<float> samples_;
};

class SpeakerSink : public LiveSink {
 public:
  SpeakerSink(const std::string& device, EchoCanceller* echo, std::function<void(int64_t)> on_played)
      : speaker_(open_speaker(device)), echo_(echo), on_played_(std::move(on_played)), thread_([this] { run(); }) {}
  ~SpeakerSink() override {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      samples_.clear();
    }
    changed_.notify_all();
    speaker_->drop();
    thread_.join();
  }

  void take(std::span<const float> samples) override {
    const std::lock_guard lock(mutex_);
    if (!error_.empty()) fail(ErrorCode::kIo, "{}", error_);
    samples_.insert(samples_.end(), samples.begin(), samples.end());
    changed_.notify_all();
  }
  void silence() override {
    {
      const std::lock_guard lock(mutex_);
      samples_.clear();
    }
    speaker_->drop();
  }
  void finish() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return (samples_.empty() && !busy_) || !error_.empty(); });
    lock.unlock();
    const auto rest = std::chrono::milliseconds(1000 * speaker_->waiting() / kSpeechRate);
    std::this_thread::sleep_for(rest);
  }
  bool plays() const override { return true; }

 private:
  void run() {
    try {
      for (;;) {
        std::vector<float> part;
        {
          std::unique_lock lock(mutex_);
          busy_ = false;
          changed_.notify_all();
          changed_.wait(lock, [this] { return closed_ || !samples_.empty(); });
          if (closed_) return;
          const auto count = static_cast<ptrdiff_t>(std::min(samples_.size(), kPart));
          part.assign(samples_.begin(), samples_.begin() + count);
          samples_.erase(samples_.begin(), samples_.begin() + count);
          busy_ = true;
        }
        if (echo_ != nullptr) echo_->played(part);
        speaker_->write(part);
        on_played_(static_cast<int64_t>(part.size()));
      }
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      error_ = error.what();
      changed_.notify_all();
    }
  }

  std::unique_ptr<Speaker> speaker_;
  EchoCanceller* echo_;
  std::function<void(int64_t)> on_played_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<float> samples_;
  bool closed_ = false, busy_ = false;
  std::string error_;
  std::thread thread_;  // after everything that it uses
};

}  // namespace

std::unique_ptr<LiveSink> make_file_sink(const std::string& file) {
  return std::make_unique<FileSink>(file);
}

std::unique_ptr<LiveSink> make_speaker_sink(const std::string& device, EchoCanceller* echo,
                                            std::function<void(int64_t)> on_played) {
  return std::make_unique<SpeakerSink>(device, echo, std::move(on_played));
}

}  // namespace minicpm::cli
