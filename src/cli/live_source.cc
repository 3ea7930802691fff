#include "cli/live_source.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "media/log_mel.h"

namespace minicpm::cli {
namespace {

constexpr size_t kPiece = kAudioRate / 10;  // samples of one push: 100 ms
constexpr size_t kPiecesASecond = 10;

}  // namespace

bool is_device(const std::string& name) {
  if (name == "microphone" || name == "camera") return true;
  const size_t colon = name.find(':');
  return colon != std::string::npos && colon > 1 && !std::filesystem::exists(name);
}

LiveSource::LiveSource(LiveInput input, EchoCanceller* echo) : input_(std::move(input)), echo_(echo) {
  const bool listens = is_device(input_.sound), watches = is_device(input_.pictures);
  if (!input_.sound.empty() && !listens) sound_ = read_sound(input_.sound).samples;
  if (!input_.pictures.empty() && !watches) {
    video_ = VideoReader::open(input_.pictures);
    if (input_.sound.empty()) {
      try {
        sound_ = read_sound(input_.pictures).samples;
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kBadFile) throw;  // a silent film
      }
    }
    const auto length = static_cast<size_t>(std::ceil(video_->info().seconds() * kAudioRate));
    if (!listens) sound_.resize(std::max(sound_.size(), length));
  }
  CaptureOptions capture;
  capture.cancel = &stop_;
  capture.device = input_.sound;
  if (listens) microphone_ = open_capture(capture);
  capture.device = input_.pictures;
  capture.sound = false;
  if (watches) camera_ = open_capture(capture);
}

LiveSource::~LiveSource() {
  stop_ = true;
  for (std::thread& thread : threads_)
    thread.join();
}

std::string LiveSource::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void LiveSource::guard(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex_);
    error_ = error.what();
  }
}

void LiveSource::start(OmniSession& session) {
  const auto run = [this](auto work) { threads_.emplace_back([this, work] { guard(work); }); };
  if (microphone_ != nullptr) run([this, &session] { listen(session); });
  if (camera_ != nullptr) run([this, &session] { watch(session); });
  if (microphone_ == nullptr) run([this, &session] { play_files(session); });
}

void LiveSource::listen(OmniSession& session) {
  CaptureSink sink;
  sink.on_sound = [&](std::span<const float> samples) {
    if (echo_ != nullptr) {
      session.push_audio(echo_->heard(samples));
    } else {
      session.push_audio(samples);
    }
  };
  const auto begin = std::chrono::steady_clock::now();
  for (int second = 0; !stop_ && microphone_->read(sink);) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    if (video_ == nullptr || passed.count() < second + 1) continue;
    if (auto picture = frame_at(++second)) session.push_frame(std::move(picture));
  }
  if (!stop_) session.finish();
}

void LiveSource::watch(OmniSession& session) {
  CaptureSink sink;
  sink.on_picture = [&](Image picture) { session.push_frame(std::make_shared<const Image>(std::move(picture))); };
  while (!stop_ && camera_->read(sink)) {
  }
}

std::shared_ptr<const Image> LiveSource::frame_at(double seconds) {
  const VideoInfo& info = video_->info();
  if (seconds > info.seconds() + 1) return nullptr;
  const auto frame = static_cast<int64_t>(seconds * info.fps);
  const int64_t index[] = {std::clamp<int64_t>(frame, 0, info.frames - 1)};
  return video_->frames(index).front();
}

/// The picture of a second is what is seen at its end.
void LiveSource::play_files(OmniSession& session) {
  const auto begin = std::chrono::steady_clock::now();
  const std::span<const float> sound(sound_);
  size_t piece = 0;
  for (size_t at = 0; at < sound.size() && !stop_; at += kPiece, ++piece) {
    const auto samples = sound.subspan(at, std::min(kPiece, sound.size() - at));
    const bool last = piece % kPiecesASecond == kPiecesASecond - 1 || at + kPiece >= sound.size();
    if (video_ != nullptr && last) {
      const double second = std::ceil(static_cast<double>(piece + 1) / kPiecesASecond);
      if (auto picture = frame_at(second)) session.push_frame(std::move(picture));
    }
    if (input_.realtime) std::this_thread::sleep_until(begin + std::chrono::milliseconds(100 * (piece + 1)));
    if (!session.push_audio(samples)) return;
  }
  if (!stop_) session.finish();
}

}  // namespace minicpm::cli
