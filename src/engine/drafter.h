// Guesses at how a sequence goes on. One step computes the guesses and the logits that check them, so a right guess
// saves a step and a wrong one costs a row.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/generator.h"

namespace minicpm {

/// Asked by whoever has the loop's turn.
class Drafter {
 public:
  virtual ~Drafter() = default;
  /// At most `most` ids that may follow `tokens`; none where it has no idea.
  virtual std::vector<int32_t> propose(std::span<const int32_t> tokens, int64_t most) = 0;
};

/// What followed where the last tokens stood before: for answers that repeat parts of their prompt or of themselves.
/// The place with the longest equal past counts, of several the latest; what would go on behind the last token repeats.
class LookupDrafter final : public Drafter {
 public:
  std::vector<int32_t> propose(std::span<const int32_t> tokens, int64_t most) override;
};

/// What a smaller model takes for the most probable. It sees the text only: rows of pictures and sound are to it the
/// placeholders they stand for.
class ModelDrafter final : public Drafter {
 public:
  struct Settings {
    Precision precision = Precision::kFast;
    DType kv_type = DType::kF16;
    int64_t context = 0;  // tokens at most, of the sequences it is asked for; cut to the model's own limit
    int64_t prefill_chunk = 512;
  };
  /// `backend` computes for one caller at a time. Throws Error out_of_memory, unsupported.
  ModelDrafter(std::unique_ptr<LoadedModel> model, Backend& backend, const Settings& settings);
  ~ModelDrafter() override;

  std::vector<int32_t> propose(std::span<const int32_t> tokens, int64_t most) override;

 private:
  std::unique_ptr<LoadedModel> model_;
  int64_t context_;
  KvCache cache_;
  Scheduler scheduler_;
  Runner runner_;
  Generator generator_;
  Sequence sequence_;  // what it saw last and its guesses, for what the next text has in common with them
};

/// Several, of which the first that has an idea is followed.
class DrafterList final : public Drafter {
 public:
  explicit DrafterList(std::vector<std::unique_ptr<Drafter>> drafters) : drafters_(std::move(drafters)) {}
  std::vector<int32_t> propose(std::span<const int32_t> tokens, int64_t most) override;

 private:
  std::vector<std::unique_ptr<Drafter>> drafters_;
};

/// How many guesses a step is worth: twice as many as before after a step whose guesses were all right, else one more
/// than were right. After steps without a right one there are none for a while, longer each time, so that text nobody
/// can guess costs little.
class DraftPace {
 public:
  explicit DraftPace(int64_t most) : most_(most), reach_(most) {}
  /// Guesses for the next step at most.
  int64_t next();
  /// Of a step that had guesses.
  void learn(int64_t drafted, int64_t accepted);

 private:
  int64_t most_, reach_;
  int misses_ = 0;  // steps without a right guess, one after another
  int rest_ = 0;    // steps to come without guesses
};

/// Throws Error invalid_request, with the first difference, unless every id means the same to both models.
void check_same_vocabulary(const LoadedModel& model, const LoadedModel& draft, const std::string& draft_name);

}  // namespace minicpm
