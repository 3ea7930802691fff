#include "io/tensor_to_write.h"

#include "base/checked.h"
#include "base/error.h"
#include "io/atomic_file.h"
#include "io/tensor_table.h"

namespace minicpm {

int64_t TensorToWrite::bytes() const {
  uint64_t elements = 1;
  for (int64_t dim : dims) {
    const auto product = dim < 0 ? std::nullopt : checked_mul(elements, static_cast<uint64_t>(dim));
    if (!product) fail(ErrorCode::kInvalidRequest, "tensor \"{}\": shape {} is not possible", name, shape_string(dims));
    elements = *product;
  }
  const DTypeInfo& format = info(dtype);
  const int64_t row = dims.empty() ? 1 : dims.back();
  if (row % format.block_elements != 0) {
    fail(ErrorCode::kInvalidRequest,
         "tensor \"{}\": rows of {} elements cannot be stored as {}, which has blocks of {}", name, row, format.name,
         format.block_elements);
  }
  const auto size =
      checked_mul(elements / static_cast<uint64_t>(format.block_elements), static_cast<uint64_t>(format.block_bytes));
  if (!size || *size > static_cast<uint64_t>(INT64_MAX)) {
    fail(ErrorCode::kInvalidRequest, "tensor \"{}\": shape {} is not possible", name, shape_string(dims));
  }
  return static_cast<int64_t>(*size);
}

TensorToWrite tensor_to_write(std::string name, const Weight& view) {
  TensorToWrite out;
  out.name = std::move(name);
  out.dtype = view.dtype;
  out.dims.assign(view.shape().begin(), view.shape().end());
  out.produce = [view](const ByteSink& sink) {
    sink({static_cast<const std::byte*>(view.data), static_cast<size_t>(stored_bytes(view))});
  };
  return out;
}

void write_tensor(AtomicFile& file, const TensorToWrite& tensor) {
  const uint64_t start = file.size();
  tensor.produce([&](std::span<const std::byte> bytes) { file.write(bytes); });
  MINICPM_CHECK(file.size() - start == static_cast<uint64_t>(tensor.bytes()));
}

}  // namespace minicpm
