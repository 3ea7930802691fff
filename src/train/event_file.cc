#include "train/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "train/append_file.h"

namespace minicpm {
namespace {

// CRC-32C: reflected polynomial 0x1edc6f41 (RFC 3720). The frames store it rotated and with a constant added, so that a
// checksum of bytes that hold checksums stays useful.
constexpr uint32_t kPolynomial = 0x82f63b78u;
constexpr uint32_t kMaskDelta = 0xa282ead8u;

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? kPolynomial : 0u);
    table[byte] = crc;
  }
  return table;
}();

// Fields of the messages Event, Summary, Summary.Value and SessionLog.
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5, kEventSessionLog = 7;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1, kValueSimple = 2;
constexpr int kSessionStatus = 1;
constexpr uint64_t kSessionStart = 1;

template <typename T>
void append_little_endian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

/// The few parts of the protobuf encoding that events need.
class Message {
 public:
  void add_varint(int field, uint64_t value) {
    key(field, 0);
    varint(value);
  }
  void add_double(int field, double value) {
    key(field, 1);
    append_little_endian(text_, std::bit_cast<uint64_t>(value));
  }
  void add_float(int field, float value) {
    key(field, 5);
    append_little_endian(text_, std::bit_cast<uint32_t>(value));
  }
  void add_bytes(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    text_ += value;
  }
  const std::string& text() const { return text_; }

 private:
  void key(int field, int wire_type) { varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type)); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      text_.push_back(static_cast<char>(value | 0x80));
    text_.push_back(static_cast<char>(value));
  }
  std::string text_;
};

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + kMaskDelta;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  std::string host = name.data();
  for (char& c : host) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.') c = '_';
  }
  return host;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder, int64_t first_step, double time) {
  // Readers take the files of a folder in the order of their names, so a later file needs a later time.
  for (auto seconds = static_cast<int64_t>(time);; ++seconds) {
    path_ = folder / fmt::format("events.out.tfevents.{:010}.{}", seconds, host_name());
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ >= 0 || errno != EEXIST) break;
  }
  if (fd_ < 0) fail_errno(path_, "create the file");
  Message version;
  version.add_double(kEventWallTime, time);
  version.add_bytes(kEventFileVersion, "brain.Event:2");
  write_record(version.text());
  Message status;
  status.add_varint(kSessionStatus, kSessionStart);
  Message start;
  start.add_double(kEventWallTime, time);
  start.add_varint(kEventStep, static_cast<uint64_t>(first_step));
  start.add_bytes(kEventSessionLog, status.text());
  write_record(start.text());
}

EventFile::~EventFile() {
  ::close(fd_);
}

void EventFile::add(int64_t step, double time, std::span<const std::pair<std::string, double>> scalars) {
  Message summary;
  for (const auto& [tag, number] : scalars) {
    Message value;
    value.add_bytes(kValueTag, tag);
    value.add_float(kValueSimple, static_cast<float>(number));
    summary.add_bytes(kSummaryValue, value.text());
  }
  Message event;
  event.add_double(kEventWallTime, time);
  event.add_varint(kEventStep, static_cast<uint64_t>(step));
  event.add_bytes(kEventSummary, summary.text());
  write_record(event.text());
}

void EventFile::write_record(std::string_view event) {
  std::string length;
  append_little_endian(length, static_cast<uint64_t>(event.size()));
  std::string record = length;
  append_little_endian(record, masked_crc(length));
  record += event;
  append_little_endian(record, masked_crc(event));
  write_all(fd_, record, path_);
}

}  // namespace minicpm
