#include "onednn.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include <dnnl.hpp>

#include "base/error.h"

namespace minicpm {
namespace {

using Tag = dnnl::memory::format_tag;
using Type = dnnl::memory::data_type;

struct Types {
  Type left, right, result;
};

Types types_of(DType dtype) {
  if (dtype == DType::kF32) return {Type::f32, Type::f32, Type::f32};
  if (dtype == DType::kBF16) return {Type::bf16, Type::bf16, Type::f32};
  MINICPM_CHECK(dtype == DType::kI8);
  return {Type::u8, Type::s8, Type::s32};
}

/// Bytes that are small numbers in all three formats: 0x3a3a3a3a is about 0.0007 in f32, as 0x3a3a is in bf16.
void fill(dnnl::memory& memory) {
  std::memset(memory.get_data_handle(), 0x3a, memory.get_desc().get_size());
}

}  // namespace

struct OneDnnProduct::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  std::unordered_map<int, dnnl::memory> arguments;
};

OneDnnProduct::OneDnnProduct(DType dtype, const ProductShape& shape, int threads) : impl_(std::make_unique<Impl>()) {
  omp_set_num_threads(threads);
  const Types types = types_of(dtype);
  const dnnl::memory::desc left({shape.rows, shape.k}, types.left, Tag::ab);
  const dnnl::memory::desc right({shape.k, shape.n}, types.right, Tag::any);
  const dnnl::memory::desc result({shape.rows, shape.n}, types.result, Tag::ab);
  const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(left, right, result), impl_->engine);
  impl_->product = dnnl::matmul(plan);
  impl_->arguments = {{DNNL_ARG_SRC, dnnl::memory(plan.src_desc(), impl_->engine)},
                      {DNNL_ARG_WEIGHTS, dnnl::memory(plan.weights_desc(), impl_->engine)},
                      {DNNL_ARG_DST, dnnl::memory(plan.dst_desc(), impl_->engine)}};
  for (auto& [name, memory] : impl_->arguments)
    fill(memory);
}

OneDnnProduct::~OneDnnProduct() = default;

void OneDnnProduct::run() {
  impl_->product.execute(impl_->stream, impl_->arguments);
  impl_->stream.wait();
}

}  // namespace minicpm
