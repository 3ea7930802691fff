// Dense products by oneDNN, as a yardstick for our own.
#pragma once

#include <cstdint>
#include <memory>

#include "base/dtype.h"

namespace minicpm {

struct ProductShape {
  int64_t rows, n, k;
};

/// [rows, k] times [k, n] with everything prepared: both operands already in their number format and the weights in
/// whatever layout the library likes best. kF32 and kBF16 give f32; kI8 multiplies unsigned by signed bytes and gives
/// the plain sums.
class OneDnnProduct {
 public:
  OneDnnProduct(DType dtype, const ProductShape& shape, int threads);
  ~OneDnnProduct();
  OneDnnProduct(const OneDnnProduct&) = delete;
  OneDnnProduct& operator=(const OneDnnProduct&) = delete;

  void run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minicpm
