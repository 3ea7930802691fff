// Any bytes as a GGUF file: they are read or refused with Error. What was accepted must lie inside the input.
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "io/gguf.h"
#include "io/gguf_vocabulary.h"
#include "quant/format.h"

namespace {

constexpr int64_t kMaxElements = 1 << 16;  // keeps one run short

void read_values(const minicpm::StoredTensor& tensor) {
  const minicpm::Weight& view = tensor.view;
  if (minicpm::format_traits(view.dtype) == nullptr || view.cols() > kMaxElements) return;
  std::vector<float> row(static_cast<size_t>(view.cols()));
  for (int64_t r : {int64_t{0}, view.rows() - 1})
    minicpm::dequantize_row(view.dtype, view.row(r), row.data(), view.cols());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto file = minicpm::GgufFile::view(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    for (const minicpm::StoredTensor& tensor : file->tensors())
      read_values(tensor);
    minicpm::read_vocabulary(*file);
  } catch (const minicpm::Error& error) {
    if (error.code() == minicpm::ErrorCode::kInternal) __builtin_trap();
  }
  return 0;
}
