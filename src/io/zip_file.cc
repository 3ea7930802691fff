#include "io/zip_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"

namespace minicpm {
namespace {

// Sizes and signatures of the format's records, all little-endian (APPNOTE 6.3).
constexpr uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50, kEndSignature = 0x06054b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kMostComment = 65535;
constexpr uint16_t kEncrypted = 1, kStored = 0;
constexpr uint32_t kElsewhere = 0xFFFFFFFF;  // the number stands in a zip64 record

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> archive, const std::string& path) : archive_(archive), path_(path) {}

  std::vector<ZipEntry> run() {
    const size_t end = find_end();
    const size_t count = u16(end + 10);
    uint64_t at = u32(end + 16);
    if (count == 0xFFFF || at == kElsewhere) {
      fail(ErrorCode::kUnsupported, "{}: zip archives with 65535 and more entries or 4 GiB are not supported", path_);
    }
    std::vector<ZipEntry> entries;
    for (size_t i = 0; i < count; ++i)
      entries.push_back(read_entry(at));
    return entries;
  }

 private:
  uint16_t u16(size_t at) const { return number<uint16_t>(at); }
  uint32_t u32(size_t at) const { return number<uint32_t>(at); }
  template <typename T>
  T number(size_t at) const {
    if (!range_inside(at, sizeof(T), archive_.size())) {
      fail(ErrorCode::kBadFile, "{}: damaged zip archive: a record lies at byte {} of {}", path_, at, archive_.size());
    }
    T value;
    std::memcpy(&value, archive_.data() + at, sizeof value);
    return value;
  }

  /// The last record, behind which only a comment stands.
  size_t find_end() const {
    if (archive_.size() >= kEndBytes) {
      const size_t last = archive_.size() - kEndBytes, first = last - std::min(last, kMostComment);
      for (size_t at = last + 1; at-- > first;) {
        if (u32(at) == kEndSignature && at + kEndBytes + u16(at + 20) == archive_.size()) return at;
      }
    }
    fail(ErrorCode::kBadFile, "{}: is not a zip archive, or its end is missing", path_);
  }

  /// The entry of the directory at `at`, which moves on to the next one.
  ZipEntry read_entry(uint64_t& at) const {
    if (u32(at) != kCentralSignature) fail(ErrorCode::kBadFile, "{}: damaged directory of a zip archive", path_);
    const uint16_t flags = u16(at + 8), method = u16(at + 10), name_bytes = u16(at + 28);
    const uint32_t stored = u32(at + 20), size = u32(at + 24), local = u32(at + 42);
    if (!range_inside(at + kCentralBytes, name_bytes, archive_.size())) {
      fail(ErrorCode::kBadFile, "{}: damaged directory of a zip archive", path_);
    }
    ZipEntry entry;
    entry.name.assign(reinterpret_cast<const char*>(archive_.data() + at + kCentralBytes), name_bytes);
    at += kCentralBytes + name_bytes + u16(at + 30) + u16(at + 32);
    if (stored == kElsewhere || size == kElsewhere || local == kElsewhere) {
      fail(ErrorCode::kUnsupported, "{}: {}: entries of 4 GiB are not supported", path_, entry.name);
    }
    if ((flags & kEncrypted) != 0 || method != kStored) {
      fail(ErrorCode::kUnsupported, "{}: {} is {}, which is not supported", path_, entry.name,
           (flags & kEncrypted) != 0 ? "encrypted" : "compressed");
    }
    if (u32(local) != kLocalSignature || stored != size) {
      fail(ErrorCode::kBadFile, "{}: {}: damaged entry of a zip archive", path_, entry.name);
    }
    const uint64_t begin = uint64_t{local} + kLocalBytes + u16(local + 26) + u16(local + 28);
    if (!range_inside(begin, size, archive_.size())) {
      fail(ErrorCode::kBadFile, "{}: {} lies at bytes {} to {} of {}", path_, entry.name, begin, begin + size,
           archive_.size());
    }
    entry.bytes = archive_.subspan(begin, size);
    return entry;
  }

  std::span<const std::byte> archive_;
  const std::string& path_;
};

}  // namespace

std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& path) {
  return ZipReader(archive, path).run();
}

}  // namespace minicpm
