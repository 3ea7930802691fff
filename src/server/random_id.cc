#include "server/random_id.h"

#include <fmt/format.h>
#include <openssl/rand.h>

namespace minicpm::server {

std::string random_id(std::string_view prefix) {
  unsigned char bytes[12] = {};
  RAND_bytes(bytes, sizeof bytes);
  std::string id(prefix);
  for (const unsigned char byte : bytes)
    id += fmt::format("{:02x}", byte);
  return id;
}

}  // namespace minicpm::server
