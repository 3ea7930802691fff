// Work on short-lived threads, for code that no ThreadPool belongs to: pictures of a request, files that are read.
#pragma once

#include <cstdint>
#include <functional>

namespace minicpm {

/// Calls fn(first, last) for `parts` consecutive parts of [0, count), of about equal size and none empty, each on a
/// thread of its own but the first one, which the caller does. Returns when all are done; what one of them threw, the
/// first in order, is thrown then. Where no thread can be started, the caller does that part too.
void for_parts(int64_t count, int64_t parts, const std::function<void(int64_t first, int64_t last)>& fn);

/// Threads for `work` units when each should have at least `least` of them: one per processor at most, and 16.
int64_t threads_for(int64_t work, int64_t least);

}  // namespace minicpm
