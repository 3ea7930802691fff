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

/// Says that nobody waits for the result of a pass any more.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  virtual bool wanted() const = 0;
};

/// What a pass throws that is interrupted, for whoever gave it the interrupt.
struct Interrupted {};

struct Context {
  Backend& backend;
  Arena& arena;
  Precision precision = Precision::kFast;
  Tracer* tracer = nullptr;
  const Interrupt* interrupt = nullptr;  // asked before every linear layer

  void check_interrupt() const {
    if (interrupt != nullptr && interrupt->wanted()) throw Interrupted{};
  }
  bool tracing() const { return tracer != nullptr; }
  void trace(std::string_view name, const Tensor& value) {
    if (tracer != nullptr) tracer->record(name, value);
  }
};

}  // namespace minicpm
