// A file of many JSON records without holding them: only where each begins.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_map.h"
#include "base/json.h"

namespace minicpm {

/// JSON lines (one record in each line; blank lines do not count) or one JSON array of records, told apart by the first
/// character. The file stays mapped and must not shrink meanwhile. Safe to use from several threads.
class RecordFile {
 public:
  /// Throws Error not_found and io; bad_file for a file without records, an array whose elements cannot be told apart,
  /// and records beyond 4 GiB.
  static RecordFile open(const std::filesystem::path& file);

  int64_t size() const { return static_cast<int64_t>(records_.size()); }
  /// "data.jsonl:17": the file as it was named and the line in which the record begins, from 1.
  std::string origin(int64_t index) const;
  /// Throws Error bad_file naming the origin for text that is not JSON.
  Json record(int64_t index) const;

 private:
  struct Record {
    uint64_t offset;
    uint32_t length;
    uint32_t line;
  };
  void index_lines(std::string_view text);
  void index_array(std::string_view text);
  void add(uint64_t offset, uint64_t length, uint64_t line);

  std::shared_ptr<const FileMap> map_;
  std::string name_;
  std::vector<Record> records_;
};

}  // namespace minicpm
