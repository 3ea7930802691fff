#include "engine/session_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <istream>

#include "base/checked.h"
#include "base/error.h"
#include "io/atomic_file.h"

namespace minicpm {
namespace {

static_assert(std::endian::native == std::endian::little, "session files are read and written as they lie in memory");

constexpr std::array<char, 16> kMagic = {'m', 'i', 'n', 'i', 'c', 'p', 'm', ' ',
                                         's', 'e', 's', 's', 'i', 'o', 'n', '\n'};
constexpr uint64_t kVersion = 1;
constexpr uint64_t kMostTokens = uint64_t{1} << 24;      // more than any model's context
constexpr uint64_t kMostBlockBytes = uint64_t{1} << 30;  // likewise
constexpr SipKey kChecksumKey = {0x6d696e6963706d20, 0x73657373696f6e20};

/// As it lies in the file.
struct FixedHead {
  std::array<char, 16> magic = kMagic;
  uint64_t version = kVersion;
  Digest128 model = {};
  uint64_t k0 = 0, k1 = 0;
  uint64_t tokens = 0;
  uint64_t media = 0, spans = 0;  // items, and places of all of them together
  uint64_t block_bytes = 0;       // keys and values of one block, all layers
};
static_assert(sizeof(FixedHead) == 16 + 9 * sizeof(uint64_t));

/// Before the spans of each item of media.
struct MediaHead {
  Digest128 digest;
  uint64_t spans;
};
static_assert(sizeof(MediaHead) == 3 * sizeof(uint64_t));

uint64_t blocks_for(uint64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

/// Size of the whole file. All numbers were limited before, so that nothing overflows.
uint64_t file_bytes(const FixedHead& head) {
  return sizeof(FixedHead) + head.tokens * sizeof(int32_t) + head.media * sizeof(MediaHead) +
         head.spans * 2 * sizeof(int64_t) + 2 * sizeof(Digest128) + blocks_for(head.tokens) * head.block_bytes;
}

class HashedFile {
 public:
  explicit HashedFile(const std::filesystem::path& file) : file_(file) {}
  template <typename T>
  void write(std::span<const T> values) {
    hash_.add(std::as_bytes(values));
    file_.write(std::as_bytes(values));
  }
  void write_digest() {
    const Digest128 digest = hash_.finish();
    file_.write(std::as_bytes(std::span(digest)));
    hash_ = SipHash(kChecksumKey);
  }
  int64_t commit() {
    file_.commit(AtomicFile::kOwnerOnly);
    return static_cast<int64_t>(file_.size());
  }

 private:
  AtomicFile file_;
  SipHash hash_{kChecksumKey};
};

}  // namespace

int64_t write_session(const std::filesystem::path& file, const SessionHead& head, const KvCache& cache,
                      std::span<const int32_t> blocks) {
  FixedHead fixed;
  fixed.model = head.model;
  fixed.k0 = head.media_key.k0;
  fixed.k1 = head.media_key.k1;
  fixed.tokens = head.tokens.size();
  fixed.media = head.media.size();
  for (const SessionMedia& media : head.media)
    fixed.spans += media.spans.size();
  fixed.block_bytes = cache.block_bytes();
  MINICPM_CHECK(blocks.size() == blocks_for(fixed.tokens));

  HashedFile out(file);
  out.write(std::span<const FixedHead>(&fixed, 1));
  out.write(std::span(head.tokens));
  for (const SessionMedia& media : head.media) {
    const MediaHead item{media.digest, media.spans.size()};
    out.write(std::span<const MediaHead>(&item, 1));
    out.write(std::span(media.spans));
    out.write(std::span(media.span_rows));
  }
  out.write_digest();
  std::vector<std::byte> block(cache.block_bytes());
  auto left = static_cast<int64_t>(fixed.tokens);
  for (const int32_t number : blocks) {
    cache.read_block(number, std::min(left, kBlockTokens), block);
    out.write(std::span<const std::byte>(block));
    left -= kBlockTokens;
  }
  out.write_digest();
  return out.commit();
}

void SessionReader::fail_damaged() const {
  fail(ErrorCode::kBadFile, "{}: the session file is damaged", name_);
}

void SessionReader::read(std::span<std::byte> to, SipHash& hash) {
  in_->read(reinterpret_cast<char*>(to.data()), static_cast<std::streamsize>(to.size()));
  if (!*in_) fail(ErrorCode::kBadFile, "{}: the session file ends too early", name_);
  hash.add(to);
}

void SessionReader::check_digest(SipHash& hash) {
  const Digest128 expected = hash.finish();
  Digest128 found = {};
  SipHash ignored(kChecksumKey);
  read(std::as_writable_bytes(std::span(found)), ignored);
  if (found != expected) fail_damaged();
}

SessionReader::SessionReader(std::istream& in, uint64_t bytes, std::string name) : in_(&in), name_(std::move(name)) {
  SipHash hash(kChecksumKey);
  FixedHead fixed;
  if (bytes < sizeof(fixed)) fail(ErrorCode::kBadFile, "{}: is no session file; it has only {} bytes", name_, bytes);
  read(std::as_writable_bytes(std::span(&fixed, 1)), hash);
  if (fixed.magic != kMagic) fail(ErrorCode::kBadFile, "{}: is no session file", name_);
  if (fixed.version != kVersion) {
    fail(ErrorCode::kBadFile, "{}: is a session file of version {}; this program reads version {}", name_,
         fixed.version, kVersion);
  }
  const bool sane = fixed.tokens >= 1 && fixed.tokens <= kMostTokens && fixed.media <= fixed.tokens &&
                    fixed.spans <= fixed.tokens && fixed.block_bytes >= 1 && fixed.block_bytes <= kMostBlockBytes;
  if (!sane) fail_damaged();
  if (bytes != file_bytes(fixed)) {
    fail(ErrorCode::kBadFile, "{}: the session file has {} bytes, but its head says {}; it is cut off or damaged",
         name_, bytes, file_bytes(fixed));
  }
  block_bytes_ = fixed.block_bytes;
  head_.model = fixed.model;
  head_.media_key = {fixed.k0, fixed.k1};
  head_.tokens.resize(fixed.tokens);
  read(std::as_writable_bytes(std::span(head_.tokens)), hash);
  read_media(hash, fixed.media, fixed.spans);
  check_digest(hash);
}

void SessionReader::read_media(SipHash& hash, uint64_t items, uint64_t spans) {
  const auto most = static_cast<int64_t>(kMostTokens);
  int64_t free = 0;  // the first place that no item has yet
  for (uint64_t i = 0; i < items; ++i) {
    MediaHead item = {};
    read(std::as_writable_bytes(std::span(&item, 1)), hash);
    if (item.spans < 1 || item.spans > spans) fail_damaged();
    spans -= item.spans;
    SessionMedia media;
    media.digest = item.digest;
    media.spans.resize(item.spans);
    media.span_rows.resize(item.spans);
    read(std::as_writable_bytes(std::span(media.spans)), hash);
    read(std::as_writable_bytes(std::span(media.span_rows)), hash);
    if (media.spans.front() >= static_cast<int64_t>(head_.tokens.size())) fail_damaged();
    for (uint64_t s = 0; s < item.spans; ++s) {
      const int64_t first = media.spans[s], rows = media.span_rows[s];
      if (first < free || first > most || rows < 1 || rows > most) fail_damaged();
      free = first + rows;
    }
    head_.media.push_back(std::move(media));
  }
  if (spans != 0) fail_damaged();
}

int64_t SessionReader::num_blocks() const {
  return static_cast<int64_t>(blocks_for(head_.tokens.size()));
}

void SessionReader::read_blocks(KvCache& cache, std::span<const int32_t> blocks) {
  MINICPM_CHECK(static_cast<int64_t>(blocks.size()) == num_blocks());
  if (block_bytes_ != cache.block_bytes()) fail_damaged();
  SipHash hash(kChecksumKey);
  std::vector<std::byte> block(block_bytes_);
  for (const int32_t number : blocks) {
    read(block, hash);
    cache.write_block(number, block);
  }
  check_digest(hash);
}

}  // namespace minicpm
