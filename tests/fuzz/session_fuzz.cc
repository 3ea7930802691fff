// Session files from elsewhere: every head, with and without blocks behind it.
#include <cstdint>
#include <sstream>
#include <string>

#include "base/error.h"
#include "engine/session_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
  try {
    minicpm::SessionReader reader(in, size, "fuzz");
    if (reader.head().tokens.size() * sizeof(int32_t) > size) __builtin_trap();
  } catch (const minicpm::Error&) {
  }
  return 0;
}
