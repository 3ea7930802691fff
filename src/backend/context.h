// What every op needs: where to compute, where to put results, and who watches.
#pragma once

#include <string_view>

#include "backend/backend.h"
#include "base/arena.h"

namespace minicpm {

/// Receives named intermediates. Off unless a check or a debugger asks for it.
class Tracer {
 public:
  virtual ~Tracer() = default;
  virtual void record(std::string_view name, const Tensor& value) = 0;
};

struct Context {
  Backend& backend;
  Arena& arena;
  Precision precision = Precision::kFast;
  Tracer* tracer = nullptr;

  bool tracing() const { return tracer != nullptr; }
  void trace(std::string_view name, const Tensor& value) {
    if (tracer != nullptr) tracer->record(name, value);
  }
};

}  // namespace minicpm
