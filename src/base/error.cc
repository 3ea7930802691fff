#include "base/error.h"

namespace minicpm {

void fail_check(const char* expression, const char* file, int line) {
  fail(ErrorCode::kInternal, "internal error: {} does not hold ({}:{})", expression, file, line);
}

}  // namespace minicpm
