// A computed prompt in a file: tokens, the digests of its media, and its keys and values. In this order, little-endian:
// a head of fixed size, the tokens, the media with their places, a checksum of all that, the blocks of the cache, and a
// checksum of those. The checksums tell damage, not forgery; whatever a file says is checked before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "base/siphash.h"
#include "engine/kv_cache.h"

namespace minicpm {

/// One picture, pack of frames or sound of a prompt, as MediaItem has it.
struct SessionMedia {
  Digest128 digest = {};
  std::vector<int64_t> spans, span_rows;
};

struct SessionHead {
  Digest128 model = {};  // of all that keys and values depend on besides the prompt
  SipKey media_key;      // of the digests of media
  std::vector<int32_t> tokens;
  std::vector<SessionMedia> media;  // in the order of the prompt
};

/// Writes the keys and values of head.tokens, which lie in `blocks`. The file is its owner's alone, and appears when it
/// is complete. Returns its size. Throws Error io, not_found.
int64_t write_session(const std::filesystem::path& file, const SessionHead& head, const KvCache& cache,
                      std::span<const int32_t> blocks);

class SessionReader {
 public:
  /// Reads the head. `bytes`: of the whole file; `name` stands in messages. Throws Error bad_file for what is no
  /// session file, of another version, cut off or damaged. Nothing is allocated that the file is too small to fill.
  SessionReader(std::istream& in, uint64_t bytes, std::string name);

  const SessionHead& head() const { return head_; }
  int64_t num_blocks() const;
  /// Fills the blocks, num_blocks() of them. Throws Error bad_file for damage, after which they hold anything, and for
  /// blocks of another size.
  void read_blocks(KvCache& cache, std::span<const int32_t> blocks);

 private:
  void read_media(SipHash& hash, uint64_t items, uint64_t spans);
  void read(std::span<std::byte> to, SipHash& hash);
  void check_digest(SipHash& hash);
  [[noreturn]] void fail_damaged() const;

  std::istream* in_;
  std::string name_;
  SessionHead head_;
  uint64_t block_bytes_ = 0;
};

}  // namespace minicpm
