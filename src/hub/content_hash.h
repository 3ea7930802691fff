// The hashes by which the hub names contents.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace minicpm::hub {

/// SHA-256 of the content, or the SHA-1 that git gives it as a blob: of "blob SIZE\0" and the content.
class ContentHash {
 public:
  enum class Kind { kSha256, kGitBlob };
  ContentHash(Kind kind, uint64_t size);
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;

  void add(std::string_view bytes);
  /// In hexadecimal digits; ends the hash.
  std::string finish();

 private:
  void* context_;
};

/// By the number of digits.
ContentHash::Kind kind_of_hash(std::string_view hash);

}  // namespace minicpm::hub
