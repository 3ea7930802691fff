#include "base/machine.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>

namespace minicpm {
namespace {

/// The text after "key<blanks>:" on a line of `file`.
std::optional<std::string> find_line(const char* file, std::string_view key) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? std::string() : line.substr(begin);
  }
  return std::nullopt;
}

/// A number in a file of its own; nothing for "max" or an absent file.
std::optional<int64_t> read_number(const char* file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

int64_t kilobytes(const char* file, const char* key) {
  const auto text = find_line(file, key);
  return text ? std::strtoll(text->c_str(), nullptr, 10) * 1024 : 0;
}

}  // namespace

MachineMemory machine_memory() {
  MachineMemory memory{kilobytes("/proc/meminfo", "MemTotal"), kilobytes("/proc/meminfo", "MemAvailable")};
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used && *limit < memory.total_bytes) {
    memory.total_bytes = *limit;
    memory.available_bytes = std::min(memory.available_bytes, std::max<int64_t>(0, *limit - *used));
  }
  return memory;
}

std::string processor_name() {
  return find_line("/proc/cpuinfo", "model name").value_or("unknown");
}

int64_t anonymous_rss_bytes() {
  return kilobytes("/proc/self/status", "RssAnon");
}

int64_t peak_rss_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

void advise_large_pages(void* memory, size_t bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

void forget_peak_rss() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets the high-water mark
}

}  // namespace minicpm
