#include "hub/content_hash.h"

#include <openssl/evp.h>

#include "base/error.h"

namespace minicpm::hub {

ContentHash::ContentHash(Kind kind, uint64_t size) : context_(EVP_MD_CTX_new()) {
  auto* context = static_cast<EVP_MD_CTX*>(context_);
  MINICPM_CHECK(context != nullptr);
  MINICPM_CHECK(EVP_DigestInit_ex(context, kind == Kind::kSha256 ? EVP_sha256() : EVP_sha1(), nullptr) == 1);
  if (kind == Kind::kSha256) return;
  add(fmt::format("blob {}", size));
  add(std::string_view("\0", 1));
}

ContentHash::~ContentHash() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
}

void ContentHash::add(std::string_view bytes) {
  MINICPM_CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}

std::string ContentHash::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  MINICPM_CHECK(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &size) == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i)
    hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

ContentHash::Kind kind_of_hash(std::string_view hash) {
  constexpr size_t kSha256Digits = 64;
  return hash.size() == kSha256Digits ? ContentHash::Kind::kSha256 : ContentHash::Kind::kGitBlob;
}

}  // namespace minicpm::hub
