#include "base/parallel.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "base/thread_pool.h"

namespace minicpm {

void for_parts(int64_t count, int64_t parts, const std::function<void(int64_t first, int64_t last)>& fn) {
  if (count <= 0) return;
  parts = std::clamp<int64_t>(parts, 1, count);
  const auto begin_of = [&](int64_t part) { return count / parts * part + std::min(part, count % parts); };
  std::vector<std::exception_ptr> errors(static_cast<size_t>(parts));
  const auto run_part = [&](int64_t part) noexcept {
    try {
      fn(begin_of(part), begin_of(part + 1));
    } catch (...) {
      errors[static_cast<size_t>(part)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<size_t>(parts));
    int64_t mine = parts;  // the parts from here on are the caller's, as is the first
    for (int64_t part = 1; part < mine; ++part) {
      try {
        threads.emplace_back(run_part, part);
      } catch (const std::system_error&) {
        mine = part;
      }
    }
    run_part(0);
    for (int64_t part = std::max<int64_t>(mine, 1); part < parts; ++part)
      run_part(part);
  }
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) std::rethrow_exception(error);
  }
}

int64_t threads_for(int64_t work, int64_t least) {
  constexpr int64_t kMost = 16;
  return std::clamp<int64_t>(work / least, 1, std::min<int64_t>(kMost, usable_processors()));
}

}  // namespace minicpm
