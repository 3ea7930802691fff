// The worker's side: the process that makes the others, and what those do.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <new>
#include <optional>

#include "base/log.h"
#include "media/sandbox/channel.h"
#include "media/sandbox/confinement.h"
#include "media/sandbox/jobs.h"
#include "media/sandbox/sandbox.h"

namespace minicpm {
namespace {

using namespace sandbox;

void send_error(Channel& channel, ErrorCode code, std::string_view text) {
  channel.send(MessageKind::kError, Packer().add(code).add_text(text));
}

std::string receive_file(Channel& channel) {
  FileHead head{};
  channel.receive_bytes(std::as_writable_bytes(std::span(&head, 1)));
  std::string bytes(head.bytes, '\0');
  channel.receive_bytes(std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

void send_picture(Channel& channel, const Image& image, uint64_t from, uint64_t to) {
  channel.send(MessageKind::kPicture, Packer().add(PictureHead{from, to, image.width, image.height}));
  channel.send_bytes(std::as_bytes(std::span(image.rgb)));
}

void do_image(Channel& channel, Unpacker& job, const WorkerDecoders& decoders) {
  const auto options = job.take<DecodeOptions>();
  const std::string name = job.take_text();
  const std::string bytes = receive_file(channel);
  send_picture(channel, decoders.image(std::as_bytes(std::span(bytes)), name, options), 0, 1);
}

void do_sound(Channel& channel, Unpacker& job, const WorkerDecoders& decoders) {
  const auto options = job.take<SoundOptions>();
  const std::string name = job.take_text();
  const Sound sound = decoders.sound(receive_file(channel), name, options);
  channel.send(MessageKind::kSamples, Packer().add(SoundHead{sound.samples.size(), sound.rate}));
  channel.send_bytes(std::as_bytes(std::span(sound.samples)));
}

void send_frames(Channel& channel, VideoSource& video, Unpacker& request) {
  std::vector<int64_t> wanted(request.left() / sizeof(int64_t));
  for (int64_t& index : wanted)
    index = request.take<int64_t>();
  video.decode(
      wanted, [&](size_t from, size_t to, const Image& image) { send_picture(channel, image, from, to); }, nullptr);
  channel.send(MessageKind::kDone, {});
}

void do_video(Channel& channel, Unpacker& job, const WorkerDecoders& decoders) {
  MediaFile file;
  file.options = job.take<VideoOptions>();
  file.name = job.take_text();
  const std::string bytes = receive_file(channel);
  file.bytes = std::as_bytes(std::span(bytes));
  const auto video = decoders.video(file);
  const VideoInfo& info = video->info();
  channel.send(MessageKind::kInfo, Packer()
                                       .add(VideoHead{info.width, info.height, info.rotation, info.fps, info.frames})
                                       .add_text(info.format)
                                       .add_text(info.codec));
  while (true) {
    const Message message = channel.receive();
    Unpacker request(message.content);
    send_frames(channel, *video, request);
  }
}

void do_job(Channel& channel, const WorkerDecoders& decoders) {
  const Message message = channel.receive();
  Unpacker job(message.content);
  try {
    if (message.kind == MessageKind::kImage) do_image(channel, job, decoders);
    if (message.kind == MessageKind::kSound) do_sound(channel, job, decoders);
    if (message.kind == MessageKind::kVideo) do_video(channel, job, decoders);
  } catch (const Error& error) {
    send_error(channel, error.code(), error.what());
  } catch (const std::bad_alloc&) {
    send_error(channel, ErrorCode::kOutOfMemory, "the file takes more memory than its decoder may have");
  }
}

/// A file's process, which has read nothing of it yet.
[[noreturn]] void run_file(const Order& order, const WorkerDecoders& decoders) {
  if (!confine({order.cpu_seconds, order.memory_bytes})) _exit(kNotConfined);
  Channel channel(kWorkerSocket);
  set_log_sink([&channel](LogLevel level, std::string_view text) {
    channel.send(MessageKind::kLog, Packer().add(level).add_text(text));
  });
  try {
    do_job(channel, decoders);
  } catch (const ChannelClosed&) {
  }
  _exit(0);
}

struct Descriptors {
  int socket = -1, status = -1;
};

/// An order, or nothing at the end of the server.
std::optional<std::pair<Order, Descriptors>> receive_order() {
  Order order{};
  iovec part{&order, sizeof order};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(Descriptors))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count;
  do
    count = recvmsg(kWorkerSocket, &message, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (count != sizeof order || header == nullptr || header->cmsg_len != CMSG_LEN(sizeof(Descriptors))) return {};
  Descriptors descriptors;
  std::memcpy(&descriptors, CMSG_DATA(header), sizeof descriptors);
  return std::pair(order, descriptors);
}

/// The process that makes those of the files. It has one thread and never sees a file.
class Worker {
 public:
  explicit Worker(const WorkerDecoders& decoders) : decoders_(decoders) {}

  void run() {
    while (true) {
      std::vector<pollfd> waiting{{kWorkerSocket, POLLIN, 0}};
      for (const Child& child : children_) {
        waiting.push_back({child.process, POLLIN, 0});
        waiting.push_back({child.status, 0, 0});  // POLLERR once the server has closed the other end
      }
      if (poll(waiting.data(), waiting.size(), -1) < 0) continue;
      for (size_t i = 0; i < children_.size(); ++i)
        look_at(children_[i], waiting[1 + 2 * i].revents, waiting[2 + 2 * i].revents);
      std::erase_if(children_, [](const Child& child) { return child.process < 0; });
      if (waiting[0].revents == 0) continue;
      const auto order = receive_order();
      if (!order) return;
      begin(order->first, order->second);
    }
  }

 private:
  struct Child {
    pid_t pid;
    int process, status;  // descriptors
  };

  static void report(int descriptor, int status) {
    [[maybe_unused]] const ssize_t written = write(descriptor, &status, sizeof status);
    close(descriptor);
  }

  void look_at(Child& child, short ended, short unwanted) {
    if (unwanted != 0) kill(child.pid, SIGKILL);  // not yet waited for, so the number is still its own
    if (ended == 0) return;
    int status = kNotStarted;
    waitpid(child.pid, &status, 0);
    close(child.process);
    report(child.status, status);
    child.process = -1;
  }

  void begin(const Order& order, const Descriptors& descriptors) {
    const pid_t worker = getpid();
    const pid_t pid = fork();
    if (pid == 0) become_file(order, descriptors.socket, worker);
    close(descriptors.socket);
    if (pid < 0) return report(descriptors.status, kNotStarted);
    const auto process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (process >= 0) {
      children_.push_back({pid, process, descriptors.status});
      return;
    }
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    report(descriptors.status, kNotStarted);
  }

  [[noreturn]] void become_file(const Order& order, int socket, pid_t worker) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != worker) _exit(0);  // it ended before that was asked for
    if (dup2(socket, kWorkerSocket) < 0) _exit(kNotConfined);
    close_range(kWorkerSocket + 1, ~0u, 0);
    run_file(order, decoders_);
  }

  const WorkerDecoders& decoders_;
  std::vector<Child> children_;
};

bool is_socket(int descriptor) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

}  // namespace

WorkerDecoders real_decoders() {
  return {[](std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options) {
            return decode_image(bytes, name, options);
          },
          [](const std::string& bytes, const std::string& name, const SoundOptions& options) {
            return sound_from_bytes(bytes, name, options);
          },
          open_video_source};
}

int run_media_worker(const WorkerDecoders& decoders) {
  if (!is_socket(kWorkerSocket)) return 2;
  close_range(kWorkerSocket + 1, ~0u, 0);
  signal(SIGPIPE, SIG_IGN);
  try {
    load_ffmpeg();
  } catch (const Error&) {
    // Each video or sound says so.
  }
  Worker(decoders).run();
  return 0;
}

}  // namespace minicpm
