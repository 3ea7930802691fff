// Messages between a server and the process of one file. Internal to media/sandbox.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace minicpm::sandbox {

enum class MessageKind : uint32_t {
  // from the server
  kImage,   // ImageJob, name; the file follows
  kSound,   // SoundJob, name; the file follows
  kVideo,   // VideoJob, name; the file follows
  kFrames,  // indices of frames
  // from the file's process
  kLog,      // a text
  kError,    // ErrorCode, text
  kPicture,  // PictureHead; the pixels follow
  kSamples,  // SoundHead; the samples follow
  kInfo,     // VideoHead, format, codec
  kDone,     // all frames were sent
};

struct FileHead {
  uint64_t bytes;
};
struct PictureHead {
  uint64_t from, to;  // of the frames asked for; 0 and 1 for a picture
  int32_t width, height;
};
struct SoundHead {
  uint64_t samples;
  int32_t rate;
};
struct VideoHead {
  int32_t width, height, rotation;
  double fps;
  int64_t frames;
};

/// The other side has closed, or died.
struct ChannelClosed {};

/// What a message holds, put together and taken apart in order. Both sides are the same program, so values are copied
/// as they lie in memory.
class Packer {
 public:
  template <typename T>
  Packer& add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Packer& add_text(std::string_view text) {
    add(static_cast<uint64_t>(text.size()));
    text_ += text;
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Throws Error internal for a message that ends early.
class Unpacker {
 public:
  explicit Unpacker(std::string_view text) : text_(text) {}
  template <typename T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::string take_text() { return std::string(take_bytes(take<uint64_t>())); }
  size_t left() const { return text_.size(); }

 private:
  std::string_view take_bytes(uint64_t count) {
    if (count > text_.size()) fail(ErrorCode::kInternal, "a message of the media decoder ends early");
    const std::string_view bytes = text_.substr(0, count);
    text_.remove_prefix(count);
    return bytes;
  }
  std::string_view text_;
};

struct Message {
  MessageKind kind;
  std::string content;
};

/// A stream socket. Throws ChannelClosed; what `wait` throws; Error internal for messages that are too long.
class Channel {
 public:
  /// `wait`, if any, is called about every 20 ms while nothing can be read or written; the socket must not block then.
  explicit Channel(int socket, std::function<void()> wait = {}) : socket_(socket), wait_(std::move(wait)) {}
  void set_wait(std::function<void()> wait) { wait_ = std::move(wait); }

  void send(MessageKind kind, const Packer& content);
  void send_bytes(std::span<const std::byte> bytes);
  Message receive();
  void receive_bytes(std::span<std::byte> bytes);

 private:
  void pause(short events);
  int socket_;
  std::function<void()> wait_;
};

}  // namespace minicpm::sandbox
