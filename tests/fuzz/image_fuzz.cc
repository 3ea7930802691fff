// Any bytes: decoding gives a picture of the claimed size, or an Error of the promised kind, and a decoded picture can
// be planned.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "media/image.h"
#include "media/slicing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicpm;
  const DecodeOptions options{.limits = {.max_pixels = 1 << 16}};
  Image image;
  try {
    image = decode_image(std::as_bytes(std::span(data, size)), "fuzz", options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadFile && error.code() != ErrorCode::kUnsupported) __builtin_trap();
    return 0;
  }
  if (image.rgb.size() != static_cast<size_t>(image.width) * image.height * 3) __builtin_trap();
  try {
    const SlicePlan plan = plan_slices({image.width, image.height}, {});
    if (plan.overview.width % 14 != 0 || plan.overview.height % 14 != 0) __builtin_trap();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidRequest) __builtin_trap();
  }
  return 0;
}
