// Rows of pictures and sounds that were encoded before, the least recently used dropped first.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/siphash.h"

namespace minicpm {

class MediaCache {
 public:
  using Rows = std::shared_ptr<const std::vector<float>>;

  /// `limit_bytes` of rows at most; 0 keeps nothing.
  explicit MediaCache(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// nullptr if it is not there. Within one scope only, so that nobody learns what others sent.
  Rows find(const std::string& scope, const Digest128& digest);
  void put(const std::string& scope, const Digest128& digest, Rows rows);

  int64_t bytes() const { return bytes_; }
  int64_t hits() const { return hits_; }
  int64_t misses() const { return misses_; }

 private:
  using Key = std::pair<std::string, Digest128>;
  struct Entry {
    Key key;
    Rows rows;
  };
  static int64_t size_of(const Rows& rows) { return static_cast<int64_t>(rows->size() * sizeof(float)); }

  int64_t limit_bytes_, bytes_ = 0, hits_ = 0, misses_ = 0;
  std::list<Entry> entries_;  // the most recently used first
  std::map<Key, std::list<Entry>::iterator> places_;
};

}  // namespace minicpm
