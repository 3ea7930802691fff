// The order in which the compressed pictures of a video are shown, and where decoding may begin. Internal to media/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minicpm {

/// One packet, in the order of the file, which is the order of decoding.
struct PacketEntry {
  int64_t time = 0;       // when it is shown, in the stream's units
  bool has_time = false;  // some containers do not say
  bool key = false;       // decoding may begin here
  bool shown = true;      // false: only needed to decode others (cut away by an edit list)
};

class PacketIndex {
 public:
  explicit PacketIndex(std::vector<PacketEntry> packets);

  int64_t frames() const { return frames_; }
  /// Whether every shown packet has a time of its own. If not, frames are told by counting what the decoder gives.
  bool exact() const { return !packet_of_.empty(); }
  /// Number of the frame that a packet holds, in the order of showing; -1 for one that is not shown. Needs exact().
  int64_t frame_of(size_t packet) const { return frame_of_[packet]; }
  size_t packets() const { return packets_.size(); }
  /// The last packet from which decoding gives this frame whole: a key picture that is neither decoded nor shown after
  /// it. Pictures that follow a key picture in both orders refer to nothing before it. Needs exact().
  size_t start_for(int64_t frame) const;

 private:
  std::vector<PacketEntry> packets_;
  std::vector<int64_t> frame_of_;  // by packet
  std::vector<size_t> packet_of_;  // by frame
  std::vector<size_t> keys_;       // packets, ascending
  int64_t frames_ = 0;
};

}  // namespace minicpm
