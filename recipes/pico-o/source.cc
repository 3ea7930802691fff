#include "pico-o/source.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "pico-o/tasks.h"
#include "pico/random.h"

namespace minicpm::pico_o {
namespace {

constexpr std::string_view kSource = "options of pico-o";

struct MixEntry {
  std::string task;
  double weight = 1;
  float difficulty = 1, difficulty_end = 1;
};

class MixedSource : public SampleSource {
 public:
  MixedSource(Split split, uint64_t seed, int64_t size, std::vector<MixEntry> mixture)
      : split_(split), seed_(seed), size_(size), mixture_(std::move(mixture)) {
    for (const MixEntry& entry : mixture_)
      total_ += entry.weight;
  }

  int64_t size() const override { return size_; }

  TrainingSample sample(int64_t index) const override {
    pico::Random random(pico::mix(pico::mix(seed_, std::string_view("mix")), static_cast<uint64_t>(index)));
    double at = static_cast<double>(random.next() >> 11) * 0x1p-53 * total_;
    size_t which = 0;
    while (which + 1 < mixture_.size() && at >= mixture_[which].weight)
      at -= mixture_[which++].weight;
    const MixEntry& entry = mixture_[which];
    const auto progress = static_cast<float>(static_cast<double>(index) / static_cast<double>(size_));
    return make(entry.task, split_, seed_, index,
                {entry.difficulty + progress * (entry.difficulty_end - entry.difficulty)});
  }

 private:
  Split split_;
  uint64_t seed_;
  int64_t size_;
  std::vector<MixEntry> mixture_;
  double total_ = 0;
};

void check_keys(const JsonObject& object, std::initializer_list<std::string_view> known) {
  if (!object.json().is_object()) fail(ErrorCode::kBadFile, "{}: expected an object", object.source());
  for (const auto& [key, value] : object.json().items()) {
    if (std::ranges::find(known, key) == known.end()) {
      fail(ErrorCode::kInvalidRequest, "{}: unknown key {}", object.source(), key);
    }
  }
}

MixEntry read_entry(const JsonObject& object) {
  check_keys(object, {"task", "weight", "difficulty", "difficulty_end"});
  MixEntry entry;
  entry.task = object.find_string("task").value_or("");
  if (std::ranges::find(tasks(), entry.task) == tasks().end()) {
    fail(ErrorCode::kInvalidRequest, "{}: pico-o has no task \"{}\"", object.source(), entry.task);
  }
  entry.weight = object.find_number("weight").value_or(1);
  if (!(entry.weight > 0 && entry.weight < 1e9)) {
    fail(ErrorCode::kInvalidRequest, "{}: expected a weight above 0, found {}", object.source(), entry.weight);
  }
  entry.difficulty = static_cast<float>(object.find_number("difficulty").value_or(1));
  entry.difficulty_end = static_cast<float>(object.find_number("difficulty_end").value_or(entry.difficulty));
  for (const float difficulty : {entry.difficulty, entry.difficulty_end}) {
    if (!(difficulty >= 0 && difficulty <= 1)) {
      fail(ErrorCode::kInvalidRequest, "{}: expected a difficulty from 0 to 1, found {}", object.source(), difficulty);
    }
  }
  return entry;
}

}  // namespace

std::unique_ptr<SampleSource> make_source(std::string_view options_json) {
  const Json json = parse_json(options_json, kSource);
  const JsonObject object(json, std::string(kSource));
  check_keys(object, {"split", "seed", "size", "mix"});
  const std::string split = object.find_string("split").value_or("train");
  if (split != "train" && split != "test") {
    fail(ErrorCode::kInvalidRequest, "{}: split: expected train or test, found {}", kSource, split);
  }
  const int64_t size = object.find_int("size").value_or(1'000'000);
  if (size < 1) fail(ErrorCode::kInvalidRequest, "{}: size: expected at least 1, found {}", kSource, size);
  const Json* list = object.find("mix");
  if (list == nullptr || !list->is_array() || list->empty()) {
    fail(ErrorCode::kInvalidRequest, "{}: mix: expected a list of tasks", kSource);
  }
  std::vector<MixEntry> mixture;
  for (size_t i = 0; i < list->size(); ++i)
    mixture.push_back(read_entry(JsonObject((*list)[i], fmt::format("{}: mix[{}]", kSource, i))));
  return std::make_unique<MixedSource>(split == "test" ? Split::kTest : Split::kTrain,
                                       static_cast<uint64_t>(object.find_int("seed").value_or(0)), size,
                                       std::move(mixture));
}

}  // namespace minicpm::pico_o
