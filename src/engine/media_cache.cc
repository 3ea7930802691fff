#include "engine/media_cache.h"

namespace minicpm {

MediaCache::Rows MediaCache::find(const std::string& scope, const Digest128& digest) {
  const auto found = places_.find({scope, digest});
  if (found == places_.end()) {
    ++misses_;
    return nullptr;
  }
  ++hits_;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->rows;
}

void MediaCache::put(const std::string& scope, const Digest128& digest, Rows rows) {
  const Key key(scope, digest);
  if (size_of(rows) > limit_bytes_ || places_.contains(key)) return;
  bytes_ += size_of(rows);
  entries_.push_front({key, std::move(rows)});
  places_[key] = entries_.begin();
  while (bytes_ > limit_bytes_) {
    bytes_ -= size_of(entries_.back().rows);
    places_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

}  // namespace minicpm
