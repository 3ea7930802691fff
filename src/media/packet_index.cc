#include "media/packet_index.h"

#include <algorithm>

namespace minicpm {

PacketIndex::PacketIndex(std::vector<PacketEntry> packets) : packets_(std::move(packets)) {
  std::vector<size_t> shown;
  bool timed = true;
  for (size_t i = 0; i < packets_.size(); ++i) {
    if (packets_[i].key) keys_.push_back(i);
    if (!packets_[i].shown) continue;
    shown.push_back(i);
    timed = timed && packets_[i].has_time;
  }
  frames_ = static_cast<int64_t>(shown.size());
  const auto time = [&](size_t packet) { return packets_[packet].time; };
  std::ranges::stable_sort(shown, {}, time);
  if (!timed || std::ranges::adjacent_find(shown, {}, time) != shown.end()) return;
  frame_of_.assign(packets_.size(), -1);
  for (size_t frame = 0; frame < shown.size(); ++frame)
    frame_of_[shown[frame]] = static_cast<int64_t>(frame);
  packet_of_ = std::move(shown);
}

size_t PacketIndex::start_for(int64_t frame) const {
  auto key = std::upper_bound(keys_.begin(), keys_.end(), packet_of_[static_cast<size_t>(frame)]);
  while (key != keys_.begin()) {
    --key;
    if (frame_of_[*key] <= frame) return *key;
  }
  return 0;
}

}  // namespace minicpm
