// What training learns from: conversations with pictures and sounds, by index.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/chat.h"

namespace minicpm {

/// A part of a picture that shows something of a known class (a character, a shape), for the auxiliary dense loss.
/// Pixels of the picture, before it is resized or sliced.
struct LabelBox {
  float left = 0, top = 0, right = 0, bottom = 0;
  int32_t label = 0;  // 1-based; 0 is "nothing"
};

struct TrainingSample {
  std::vector<Message> messages;             // system, user, assistant, ...; the last one is the assistant's
  std::vector<std::vector<LabelBox>> boxes;  // one list for each picture or frame, in prompt order; empty: no labels
  std::string origin;                        // "data.jsonl:17", for messages
  std::vector<std::string> spoken;           // what is said in each message with sound, in order; empty: not known
};

/// Samples by number. Implementations may be called from several threads at once.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Number of samples of one epoch.
  virtual int64_t size() const = 0;
  /// The same index gives the same sample. Throws Error bad_file, not_found, ... naming the file and line.
  virtual TrainingSample sample(int64_t index) const = 0;
};

}  // namespace minicpm
