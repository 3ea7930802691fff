// What a decoder that was taken over may send to the server: any bytes. The first of the input choose the job, the
// others are the decoder's side of the channel. The server gets what it asked for, or an Error.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "media/sandbox/channel.h"
#include "media/sandbox/file_process.h"
#include "media/sandbox/sandbox.h"

namespace {

std::string_view sent;  // by the decoder

/// A picture of one red pixel: the server's first question to a worker.
std::string red_pixel() {
  using namespace minicpm::sandbox;
  const std::string head = Packer().add(PictureHead{0, 1, 1, 1}).text();
  return Packer().add(MessageKind::kPicture).add(uint32_t{0}).add(uint64_t{head.size()}).text() + head +
         std::string("\xff\0\0", 3);
}

}  // namespace

namespace minicpm::sandbox {

// In place of the worker's process: that of each file has said everything already, and has ended.

WorkerProcess::WorkerProcess(SandboxOptions options) : options_(std::move(options)) {}
WorkerProcess::~WorkerProcess() = default;
int WorkerProcess::pid() const {
  return -1;
}

WorkerProcess::File WorkerProcess::begin_file() {
  int sockets[2], pipe_ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) != 0 || pipe(pipe_ends) != 0) std::abort();
  const Descriptor report(pipe_ends[1]);
  control_ = Descriptor(sockets[1]);  // what the server sends is never read
  if (send(sockets[1], sent.data(), sent.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(sent.size())) std::abort();
  shutdown(sockets[1], SHUT_WR);
  return {Descriptor(sockets[0]), Descriptor(pipe_ends[0])};
}

}  // namespace minicpm::sandbox

namespace {

using namespace minicpm;

constexpr std::string_view kFile = "a file";
constexpr int64_t kMostPixels = 1 << 14;
constexpr double kMostSeconds = 1;

void check(const Image& image) {
  if (image.width <= 0 || image.height <= 0 || int64_t{image.width} * image.height > kMostPixels) std::abort();
  if (image.rgb.size() != size_t{3} * static_cast<size_t>(image.width) * static_cast<size_t>(image.height))
    std::abort();
}

void ask_image(MediaDecoder& decoder) {
  const DecodeOptions options{.limits = {.max_pixels = kMostPixels}};
  check(decoder.image(std::as_bytes(std::span(kFile)), "picture", options, nullptr));
}

void ask_sound(MediaDecoder& decoder) {
  const SoundOptions options{.rate = 1000, .max_seconds = kMostSeconds};
  const Sound sound = decoder.sound(std::string(kFile), "sound", options, nullptr);
  if (sound.rate != options.rate || sound.samples.size() > 20'000) std::abort();
}

/// Three frames, then two.
void ask_video(MediaDecoder& decoder) {
  const VideoOptions options{.limits = {.max_pixels = kMostPixels, .max_frames = 100, .max_decoded_bytes = 1 << 20}};
  const auto video = decoder.video(std::string(kFile), "video", options, nullptr);
  const int64_t last = video->info().frames - 1;
  if (last < 0 || last >= 100 || !(video->info().fps > 0)) std::abort();
  for (const std::vector<int64_t>& wanted : {std::vector{int64_t{0}, last / 2, last}, {int64_t{0}, last}}) {
    const auto frames = video->frames(wanted);
    if (frames.size() != wanted.size()) std::abort();
    for (const auto& frame : frames)
      check(*frame);
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  set_log_sink([](LogLevel, std::string_view text) {
    if (text.find('\n') != std::string_view::npos) std::abort();
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string first = red_pixel();
  sent = first;
  const std::unique_ptr<MediaSandbox> decoder = MediaSandbox::start({});
  sent = std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr void (*kJobs[])(MediaDecoder&) = {ask_image, ask_sound, ask_video};
  try {
    kJobs[data[0] % std::size(kJobs)](*decoder);
  } catch (const Error&) {
  }
  return 0;
}
