// A media worker whose decoders do what a hostile file could make them do: the file's bytes say what.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>
#include <string_view>

#include "base/log.h"
#include "media/sandbox/sandbox.h"

namespace minicpm {
namespace {

volatile uint64_t counter = 0;
volatile int* volatile nowhere = nullptr;

/// What a decoder that was taken over may send: heads that make sense and contents that do not.
[[noreturn]] void send_noise(size_t seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::string noise;
  for (int messages = 0; messages < 4; ++messages) {
    const uint32_t kind = random() % 12, unused = random();
    const uint64_t bytes = random() % 4 == 0 ? random() : random() % 64;
    for (const uint32_t part : {kind, unused})
      noise.append(reinterpret_cast<const char*>(&part), sizeof part);
    noise.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    for (size_t i = random() % 80; i > 0; --i)
      noise += static_cast<char>(random() % 3 == 0 ? random() : random() % 4);
  }
  send(kWorkerSocket, noise.data(), noise.size(), MSG_NOSIGNAL);
  _exit(0);
}

void misbehave(std::string_view how) {
  if (how.starts_with("noise")) send_noise(std::hash<std::string_view>()(how));
  if (how == "loop") {
    while (true)
      counter = counter + 1;
  }
  if (how == "sleep") poll(nullptr, 0, -1);
  if (how == "crash") *nowhere = 1;
  if (how == "abort") std::abort();
  if (how == "chatter") {
    while (true)
      log_warning("and another thing");
  }
  if (how == "connect") socket(AF_INET, SOCK_STREAM, 0);
  if (how == "fork") fork();
  if (how == "exec") execl("/bin/true", "true", nullptr);
  if (how == "kill") kill(getppid(), SIGKILL);
  if (how == "memory") {
    for (size_t bytes = size_t{1} << 30;; bytes *= 2)
      std::vector<char>(bytes, 'x');
  }
  // What is refused without ending the process: exit codes tell.
  if (how == "open") _exit(open("/etc/passwd", O_RDONLY) < 0 ? 40 : 41);
  if (how == "write") _exit(open("/tmp/minicpm-sandbox-test", O_WRONLY | O_CREAT, 0600) < 0 ? 40 : 41);
  if (how == "execute memory") {
    _exit(mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 40 : 41);
  }
  if (how == "descriptors") {  // closing what is not open fails
    int others = 0;
    for (int i = kWorkerSocket + 1; i < 1024; ++i)
      others += close(i) == 0 ? 1 : 0;
    _exit(others == 0 ? 40 : 41);
  }
}

Image decode(std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  misbehave(text);
  if (text == "huge") return {1 << 20, 1 << 20, {}};  // a head without its pixels
  return decode_image(bytes, name, options);
}

/// A video whose decoder hands out whatever the file's text says instead of the frames that were asked for.
class LyingVideo : public VideoSource {
 public:
  explicit LyingVideo(std::string_view text) : text_(text) {}
  const VideoInfo& info() const override { return info_; }
  void decode(std::span<const int64_t> wanted, const OnFrame& on_frame, const std::atomic<bool>*) override {
    const Image frame{4, 4, std::vector<uint8_t>(48, 9)};
    if (text_ == "lie: too few frames") on_frame(0, wanted.size() - 1, frame);
    if (text_ == "lie: a gap") on_frame(1, wanted.size(), frame);
    while (text_ == "lie: frames for ever")
      on_frame(0, 1, frame);
  }

 private:
  std::string_view text_;
  VideoInfo info_{4, 4, 1.0, 4, 0, "lies", "lies"};
};

std::string_view text_of(const MediaFile& file) {
  return {reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()};
}

}  // namespace
}  // namespace minicpm

int main() {
  minicpm::WorkerDecoders decoders = minicpm::real_decoders();
  decoders.image = minicpm::decode;
  const auto video = decoders.video;
  decoders.video = [&](const minicpm::MediaFile& file) -> std::unique_ptr<minicpm::VideoSource> {
    const std::string_view text = minicpm::text_of(file);
    if (text.starts_with("lie: ")) return std::make_unique<minicpm::LyingVideo>(text);
    return video(file);
  };
  return minicpm::run_media_worker(decoders);
}
