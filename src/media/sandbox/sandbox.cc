// The server's side: jobs as MediaDecoder has them. What comes back is judged again: a decoder may have been taken
// over.
#include "media/sandbox/sandbox.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>

#include "base/checked.h"
#include "media/sandbox/file_process.h"

namespace minicpm {
namespace {

using namespace sandbox;

constexpr size_t kLongestName = 64;  // of a format or codec

/// The order of a video's pictures: one behind the other up to the last that was asked for. A damaged file is walked
/// through twice.
class PictureOrder {
 public:
  explicit PictureOrder(size_t wanted) : wanted_(wanted) {}
  /// Whether a picture may stand for these places now.
  bool take(uint64_t from, uint64_t to) {
    if (from == 0) {
      next_ = 0;
      if (++walks_ > 2) return false;
    }
    if (from != next_ || to <= from || to > wanted_) return false;
    next_ = to;
    return true;
  }
  bool complete() const { return next_ == wanted_; }

 private:
  uint64_t wanted_, next_ = 0;
  int walks_ = 0;
};

/// The pixels that follow `head`.
Image receive_picture(FileProcess& process, const PictureHead& head, int64_t max_pixels) {
  if (head.width <= 0 || head.height <= 0 || int64_t{head.width} * head.height > max_pixels) process.fail_confused();
  Image image{head.width, head.height, {}};
  image.rgb.resize(static_cast<size_t>(head.width) * static_cast<size_t>(head.height) * 3);
  process.receive_bytes(std::as_writable_bytes(std::span(image.rgb)));
  return image;
}

VideoInfo receive_info(FileProcess& process, const MediaFile& file) {
  const std::string content = process.receive(MessageKind::kInfo);
  Unpacker message(content);
  const auto head = message.take<VideoHead>();
  VideoInfo info{head.width,    head.height,         head.fps,           head.frames,
                 head.rotation, message.take_text(), message.take_text()};
  check_frame_size(file, info.width, info.height);
  if (!std::isfinite(info.fps) || info.fps <= 0) process.fail_confused();
  if (std::max(info.format.size(), info.codec.size()) > kLongestName) process.fail_confused();
  check_length(file, info);
  return info;
}

class SandboxedVideo : public VideoSource {
 public:
  SandboxedVideo(WorkerProcess& worker, MediaFile file, const std::atomic<bool>* cancel)
      : file_(std::move(file)), process_(worker, file_.name, cancel) {
    process_.send_job(MessageKind::kVideo, Packer().add(file_.options).add_text(file_.name), file_.bytes);
    info_ = receive_info(process_, file_);
    process_.set_cancel(nullptr);
  }

  const VideoInfo& info() const override { return info_; }

  void decode(std::span<const int64_t> wanted, const OnFrame& on_frame, const std::atomic<bool>* cancel) override {
    process_.set_cancel(cancel);
    Packer request;
    for (const int64_t index : wanted)
      request.add(index);
    process_.send(MessageKind::kFrames, request);
    PictureOrder order(wanted.size());
    while (true) {
      const Message message = process_.receive();
      if (message.kind == MessageKind::kDone && order.complete()) break;
      if (message.kind != MessageKind::kPicture) process_.fail_confused();
      const auto head = Unpacker(message.content).take<PictureHead>();
      if (!order.take(head.from, head.to)) process_.fail_confused();
      on_frame(head.from, head.to, receive_picture(process_, head, file_.options.limits.max_pixels));
    }
    process_.set_cancel(nullptr);
  }

 private:
  MediaFile file_;  // its bytes are the process's by now
  FileProcess process_;
  VideoInfo info_;
};

class Sandbox : public MediaSandbox {
 public:
  explicit Sandbox(SandboxOptions options) : worker_(std::move(options)) {}

  Image image(std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options,
              const std::atomic<bool>* cancel) override {
    FileProcess process(worker_, name, cancel);
    process.send_job(MessageKind::kImage, Packer().add(options).add_text(name), bytes);
    const auto head = Unpacker(process.receive(MessageKind::kPicture)).take<PictureHead>();
    return receive_picture(process, head, options.limits.max_pixels);
  }

  Sound sound(const std::string& bytes, const std::string& name, const SoundOptions& options,
              const std::atomic<bool>* cancel) override {
    FileProcess process(worker_, name, cancel);
    process.send_job(MessageKind::kSound, Packer().add(options).add_text(name), std::as_bytes(std::span(bytes)));
    const auto head = Unpacker(process.receive(MessageKind::kSamples)).take<SoundHead>();
    // A decoder may stop a packet after the limit, and a resampler holds some samples back: ten seconds are plenty.
    const double most = (options.max_seconds + 10) * options.rate;
    if (head.rate != options.rate || static_cast<double>(head.samples) > most) process.fail_confused();
    Sound sound{std::vector<float>(head.samples), head.rate};
    process.receive_bytes(std::as_writable_bytes(std::span(sound.samples)));
    return sound;
  }

  std::unique_ptr<VideoReader> video(std::string bytes, const std::string& name, const VideoOptions& options,
                                     const std::atomic<bool>* cancel) override {
    MediaFile file{std::as_bytes(std::span(bytes)), name, options};
    auto source = std::make_unique<SandboxedVideo>(worker_, file, cancel);
    file.bytes = {};
    return make_video_reader(nullptr, std::move(file), std::move(source));
  }

  int worker_pid() const override { return worker_.pid(); }

 private:
  WorkerProcess worker_;
};

/// A BMP of one red pixel.
constexpr std::array<uint8_t, 58> kSmallPicture = {'B', 'M', 58, 0, 0, 0, 0, 0, 0,  0, 54, 0, 0, 0, 40, 0, 0,   0, 1, 0,
                                                   0,   0,   1,  0, 0, 0, 1, 0, 24, 0, 0,  0, 0, 0, 0,  0, 0,   0, 0, 0,
                                                   0,   0,   0,  0, 0, 0, 0, 0, 0,  0, 0,  0, 0, 0, 0,  0, 255, 0};

}  // namespace

std::unique_ptr<MediaSandbox> MediaSandbox::start(SandboxOptions options) {
  try {
    auto sandbox = std::make_unique<Sandbox>(std::move(options));
    const Image image = sandbox->image(std::as_bytes(std::span(kSmallPicture)), "a small picture", {}, nullptr);
    if (image.rgb != std::vector<uint8_t>{255, 0, 0}) fail(ErrorCode::kInternal, "it gave another picture");
    return sandbox;
  } catch (const Error& error) {
    fail(ErrorCode::kUnsupported, "media cannot be decoded in processes of their own: {}", error.what());
  }
}

}  // namespace minicpm
