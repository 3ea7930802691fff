// Any bytes as a file of torch.save: they are read or refused with Error. What was accepted must lie inside the input.
#include <cstdint>

#include "base/error.h"
#include "io/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    volatile unsigned sum = 0;
    for (const minicpm::TorchTensor& tensor :
         minicpm::parse_torch_file(std::as_bytes(std::span(data, size)), "fuzz.pt")) {
      if (!tensor.bytes.empty()) {
        sum = sum + static_cast<unsigned>(tensor.bytes.front()) + static_cast<unsigned>(tensor.bytes.back());
      }
    }
  } catch (const minicpm::Error& error) {
    if (error.code() == minicpm::ErrorCode::kInternal) __builtin_trap();
  }
  return 0;
}
