// Answers against the boxes, which come from what was drawn.
#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "support.h"

namespace minicpm::pico {
namespace {

using Answers = Fonts;

constexpr int64_t kSamples = 150;

struct Seen {
  std::string color, kind;
  float x, y, half;
  std::string name() const { return color + " " + kind; }
  std::string with_article() const { return (color == "orange" ? "an " : "a ") + name(); }
};

std::vector<Seen> shapes_of(const std::vector<LabelBox>& boxes) {
  std::vector<Seen> shapes;
  for (const LabelBox& box : boxes) {
    const std::string name = dense_class_name(box.label);
    const size_t space = name.find(' ');
    if (space == std::string::npos) continue;
    const std::string kind = name.substr(space + 1);
    // Boxes hold 60 % of a shape, of a ring 85 %.
    const float half = 0.5f * (box.bottom - box.top) / (kind == "ring" ? 0.85f : 0.6f);
    shapes.push_back({name.substr(0, space), kind, 0.5f * (box.left + box.right), 0.5f * (box.top + box.bottom), half});
  }
  return shapes;
}

/// Whether the phrase ("red shapes", "circles", "a red circle") names this shape.
bool is_named(const std::string& phrase, const Seen& shape) {
  bool color_said = false, kind_said = false;
  for (const std::string_view color : kColorNames)
    color_said |= contains(phrase, color);
  for (const std::string_view kind : kKindNames)
    kind_said |= contains(phrase, kind);
  return (!color_said || contains(phrase, shape.color)) && (!kind_said || contains(phrase, shape.kind));
}

TEST_F(Answers, TextIsWhatIsDrawn) {
  for (const std::string_view task : {"letters", "word", "digits"}) {
    for (int64_t i = 0; i < kSamples; ++i) {
      const TrainingSample sample = draw(task, Split::kTest, kSeed, i, with_boxes());
      EXPECT_EQ(characters_of(sample.boxes.at(0)), turns_of(sample).at(0).answer) << task << " " << i;
    }
  }
}

TEST_F(Answers, WordsHaveTheWantedLength) {
  DrawOptions options;
  options.min_letters = 4;
  options.max_letters = 6;
  for (int64_t i = 0; i < kSamples; ++i) {
    const std::string word = turns_of(draw("word", Split::kTrain, kSeed, i, options)).at(0).answer;
    EXPECT_TRUE(word.size() >= 4 && word.size() <= 6) << word;
    const bool lower_after_first =
        std::all_of(word.begin() + 1, word.end(), [](unsigned char c) { return std::islower(c); });
    const bool upper = std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isupper(c); });
    EXPECT_TRUE(lower_after_first || upper) << word;
  }
}

TEST_F(Answers, LinesAreReadFromTopToBottom) {
  for (const std::string_view task : {"lines", "page"}) {
    for (int64_t i = 0; i < 60; ++i) {
      const TrainingSample sample = draw(task, Split::kTest, kSeed, i, with_boxes());
      const std::string drawn = characters_of(sample.boxes.at(0));
      for (const Turn& turn : turns_of(sample)) {
        if (contains(turn.question, "How many")) continue;
        const std::string said = without_space(turn.answer);
        const bool one_line = contains(turn.question, " line ") || contains(turn.question, " line.");
        if (one_line) {
          EXPECT_TRUE(contains(drawn, said)) << drawn << " / " << said;
        } else {
          EXPECT_EQ(said, drawn);
        }
        const bool is_first = contains(turn.question, "first") || contains(turn.question, "line 1");
        if (is_first) {
          EXPECT_EQ(drawn.find(said), 0u);
        }
      }
    }
  }
}

TEST_F(Answers, OneShape) {
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("shape_one", Split::kTrain, kSeed, i, with_boxes());
    const std::vector<Seen> shapes = shapes_of(sample.boxes.at(0));
    ASSERT_EQ(shapes.size(), 1u);
    for (const Turn& turn : turns_of(sample)) {
      if (contains(turn.question, "background")) {
        EXPECT_NE(turn.answer, shapes[0].color);
      } else if (contains(turn.question, "color")) {
        EXPECT_EQ(turn.answer, shapes[0].color) << turn.question;
      } else if (contains(turn.question, "shape")) {
        EXPECT_EQ(turn.answer, shapes[0].kind) << turn.question;
      } else {
        EXPECT_EQ(turn.answer, shapes[0].with_article()) << turn.question;
      }
    }
  }
}

/// The one of two shapes that is further in the direction that a word names.
const Seen& choose(const std::string& question, const Seen& a, const Seen& b) {
  if (contains(question, "left")) return a.x < b.x ? a : b;
  if (contains(question, "right")) return a.x < b.x ? b : a;
  if (contains(question, "top")) return a.y < b.y ? a : b;
  if (contains(question, "bottom")) return a.y < b.y ? b : a;
  if (contains(question, "bigger")) return a.half > b.half ? a : b;
  return a.half > b.half ? b : a;  // smaller
}

TEST_F(Answers, TwoShapes) {
  int compared = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("shapes_two", Split::kTrain, kSeed, i, with_boxes());
    const std::vector<Seen> shapes = shapes_of(sample.boxes.at(0));
    ASSERT_EQ(shapes.size(), 2u);
    for (const Turn& turn : turns_of(sample)) {
      const std::string& question = turn.question;
      std::smatch match;
      if (std::regex_match(question, match, std::regex("Is the (.*) (left|above|bigger) or .* the (.*)\\?"))) {
        const bool first_is_subject = is_named(match[1], shapes[0]);
        EXPECT_NE(first_is_subject, is_named(match[1], shapes[1])) << question;
        const Seen& subject = shapes[first_is_subject ? 0 : 1];
        const Seen& object = shapes[first_is_subject ? 1 : 0];
        EXPECT_TRUE(is_named(match[3], object)) << question;
        const std::map<std::string, bool> truth = {
            {"left", subject.x < object.x},         {"right", subject.x > object.x},
            {"above", subject.y < object.y},        {"below", subject.y > object.y},
            {"bigger", subject.half > object.half}, {"smaller", subject.half < object.half}};
        EXPECT_TRUE(truth.at(turn.answer)) << question << " " << turn.answer;
        ++compared;
      } else if (std::regex_search(question, std::regex("left|right|top|bottom|bigger|smaller"))) {
        EXPECT_EQ(turn.answer, choose(question, shapes[0], shapes[1]).with_article()) << question;
        ++compared;
      } else if (contains(turn.answer, " and ")) {
        EXPECT_TRUE(contains(turn.answer, shapes[0].with_article()) && contains(turn.answer, shapes[1].with_article()));
      } else if (contains(question, "color")) {
        EXPECT_EQ(turn.answer, shapes[is_named(question, shapes[0]) ? 0 : 1].color) << question;
      } else {
        EXPECT_EQ(turn.answer, shapes[is_named(question, shapes[0]) ? 0 : 1].kind) << question;
      }
    }
  }
  EXPECT_GT(compared, kSamples / 2);
}

TEST_F(Answers, Counts) {
  std::map<std::string, int> answers;
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("count", Split::kTrain, kSeed, i, with_boxes());
    const std::vector<Seen> shapes = shapes_of(sample.boxes.at(0));
    for (const Turn& turn : turns_of(sample)) {
      const auto count =
          std::count_if(shapes.begin(), shapes.end(), [&](const Seen& s) { return is_named(turn.question, s); });
      EXPECT_EQ(turn.answer, std::to_string(count)) << turn.question;
      ++answers[turn.answer];
    }
  }
  for (int n = 1; n <= 9; ++n)
    EXPECT_GT(answers[std::to_string(n)], kSamples / 30) << n;
}

TEST_F(Answers, Video) {
  int moves = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("video", Split::kTrain, kSeed, i, with_boxes());
    int32_t last = -1;
    for (const ContentPart& part : sample.messages.at(0).content) {
      if (part.kind != ContentPart::Kind::kFrames) continue;
      EXPECT_LE(part.images.size(), 3u);
      ASSERT_EQ(part.images.size(), part.frame_ids.size());
      for (const int32_t id : part.frame_ids) {
        EXPECT_GT(id, last);
        last = id;
      }
    }
    for (const Turn& turn : turns_of(sample)) {
      const std::vector<Seen> first = shapes_of(sample.boxes.front()), end = shapes_of(sample.boxes.back());
      if (contains(turn.question, "How many") || contains(turn.question, "Count")) {
        EXPECT_EQ(turn.answer, std::to_string(end.size()));
      } else if (contains(turn.question, "does the")) {
        const auto which =
            std::find_if(first.begin(), first.end(), [&](const Seen& s) { return is_named(turn.question, s); });
        ASSERT_NE(which, first.end()) << turn.question;
        const Seen& after = end[static_cast<size_t>(which - first.begin())];
        const float dx = after.x - which->x, dy = after.y - which->y;
        const bool across = std::abs(dx) > std::abs(dy);
        EXPECT_EQ(turn.answer, across ? (dx < 0 ? "left" : "right") : (dy < 0 ? "up" : "down")) << turn.question;
        ++moves;
      } else if (contains(turn.question, "last")) {
        // Boxes stand in the order of appearance.
        EXPECT_TRUE(turn.answer == end.back().color || turn.answer == end.back().with_article()) << turn.question;
      } else if (contains(turn.question, "first")) {
        EXPECT_TRUE(turn.answer == end.front().color || turn.answer == end.front().with_article()) << turn.question;
      }
    }
  }
  EXPECT_GT(moves, kSamples / 4);
}

TEST_F(Answers, ChartsWithWrittenValues) {
  int checked = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("chart", Split::kTrain, kSeed, i, with_boxes());
    const std::string text = characters_of(sample.boxes.at(0));  // "A12B30..." unless an axis comes first
    if (std::isdigit(static_cast<unsigned char>(text.at(0)))) continue;
    std::map<std::string, int> values;
    const std::regex pair("([A-Z][a-z]*)([0-9]+)");
    for (std::sregex_iterator at(text.begin(), text.end(), pair), end; at != end; ++at)
      values[(*at)[1]] = std::stoi((*at)[2]);
    const auto by_value = [](const auto& a, const auto& b) { return a.second < b.second; };
    const auto smallest = *std::min_element(values.begin(), values.end(), by_value);
    const auto largest = *std::max_element(values.begin(), values.end(), by_value);
    for (const Turn& turn : turns_of(sample)) {
      std::smatch match;
      if (std::regex_search(turn.question, match, std::regex("alue (?:of|has) (\\w+)"))) {
        EXPECT_EQ(turn.answer, std::to_string(values.at(match[1]))) << text;
        ++checked;
      } else if (std::regex_search(turn.question, std::regex("What is the (largest|highest) value"))) {
        EXPECT_EQ(turn.answer, std::to_string(largest.second)) << text;
      } else if (std::regex_search(turn.question, std::regex("largest|highest"))) {
        EXPECT_EQ(turn.answer, largest.first) << text;
      } else if (std::regex_search(turn.question, std::regex("smallest|lowest"))) {
        EXPECT_EQ(turn.answer, smallest.first) << text;
      } else if (contains(turn.question, "bars")) {
        EXPECT_EQ(turn.answer, std::to_string(values.size()));
      }
    }
  }
  EXPECT_GT(checked, kSamples / 10);
}

TEST_F(Answers, ArithmeticIsRight) {
  int thoughts = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("arithmetic", Split::kTrain, kSeed, i, with_boxes());
    const std::string answer = turns_of(sample).at(0).answer;
    std::smatch match;
    if (!std::regex_match(answer, match, std::regex("<think>\n([^<]*)\n</think>\n\n(\\d+)"))) {
      EXPECT_TRUE(std::regex_match(answer, std::regex("\\d+"))) << answer;
      continue;
    }
    ++thoughts;
    const std::string steps = match[1], result = match[2];
    const std::regex step("(\\d+) ([-+x]) (\\d+)(?: \\+ (\\d+))? = (\\d+)(?:\n|$)");
    std::string last;
    size_t length = 0;
    for (std::sregex_iterator at(steps.begin(), steps.end(), step), end; at != end; ++at) {
      const int a = std::stoi((*at)[1]), b = std::stoi((*at)[3]), c = (*at)[4].matched ? std::stoi((*at)[4]) : 0;
      const std::string sign = (*at)[2];
      last = (*at)[5];
      EXPECT_EQ((sign == "+" ? a + b : sign == "-" ? a - b : a * b) + c, std::stoi(last)) << answer;
      length += static_cast<size_t>(at->length());
    }
    EXPECT_EQ(length, steps.size()) << answer;  // nothing but steps
    EXPECT_EQ(last, result) << answer;
  }
  EXPECT_GT(thoughts, kSamples / 2);
}

TEST_F(Answers, AbsentThingsAreRefused) {
  int refused = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("absent", Split::kTrain, kSeed, i, with_boxes());
    const Turn turn = turns_of(sample).at(0);
    const std::vector<Seen> shapes = shapes_of(sample.boxes.at(0));
    const bool reads = std::regex_search(turn.question, std::regex("^Read|say|written|bar |^Which word"));
    const bool any =
        std::any_of(shapes.begin(), shapes.end(), [&](const Seen& s) { return is_named(turn.question, s); });
    if (turn.answer == "I can't see that.") {
      ++refused;
      EXPECT_FALSE(reads ? shapes.empty() : any) << turn.question;
    } else if (!std::regex_search(turn.question, std::regex("^Is the|^How many|number of|^Count"))) {
      EXPECT_TRUE(reads ? shapes.empty() : any) << turn.question;
    }
  }
  EXPECT_GT(refused, kSamples / 3);
  EXPECT_LT(refused, kSamples * 4 / 5);
}

TEST_F(Answers, TwoPictures) {
  for (int64_t i = 0; i < kSamples; ++i) {
    const TrainingSample sample = draw("two_pictures", Split::kTrain, kSeed, i, with_boxes());
    ASSERT_EQ(sample.boxes.size(), 2u);
    const std::vector<Seen> shapes[2] = {shapes_of(sample.boxes[0]), shapes_of(sample.boxes[1])};
    const std::string words[2] = {characters_of(sample.boxes[0]), characters_of(sample.boxes[1])};
    for (const Turn& turn : turns_of(sample)) {
      const int which = contains(turn.question, "second") ? 1 : 0;
      if (!words[0].empty()) {
        EXPECT_EQ(turn.answer, contains(turn.question, "same") ? (words[0] == words[1] ? "yes" : "no") : words[which]);
      } else if (contains(turn.question, "How many") || contains(turn.question, "Count")) {
        EXPECT_EQ(turn.answer, std::to_string(shapes[which].size()));
      } else if (contains(turn.question, "more") || contains(turn.question, "fewer")) {
        const bool more = contains(turn.question, "more"), first = (shapes[0].size() > shapes[1].size()) == more;
        EXPECT_EQ(turn.answer, shapes[0].size() == shapes[1].size() ? "the same" : first ? "first" : "second");
      } else if (contains(turn.question, "differ")) {
        const Seen &a = shapes[0].at(0), &b = shapes[1].at(0);
        const bool sizes = std::max(a.half, b.half) > 1.5f * std::min(a.half, b.half);
        EXPECT_EQ(turn.answer, a.color != b.color ? "color" : a.kind != b.kind ? "shape" : sizes ? "size" : "nothing");
      }
    }
  }
}

}  // namespace
}  // namespace minicpm::pico
