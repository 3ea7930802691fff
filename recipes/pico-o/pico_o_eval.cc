// Measures what a model that hears makes of held-out speech: the word error rate of its transcripts, and the share of
// spoken questions that it answers rightly.
//
//   pico_o_eval --model models/pico-o --samples 200 [--show 10] [--json FILE]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "engine/chat.h"
#include "engine/transcript.h"
#include "pico-o/tasks.h"

namespace minicpm::pico_o {
namespace {

struct Options {
  std::string model = "pico-o", json;
  int64_t samples = 200, show = 0;
  uint64_t seed = 20261123;
  MakeOptions make;
};

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = text.find_first_not_of(' '); at != std::string::npos;) {
    const size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(' ', end);
  }
  return words;
}

/// Substituted, left out and added words.
int64_t word_errors(const std::vector<std::string>& right, const std::vector<std::string>& found) {
  std::vector<int64_t> row(found.size() + 1);
  for (size_t j = 0; j <= found.size(); ++j)
    row[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= right.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j <= found.size(); ++j) {
      const int64_t changed = diagonal + (right[i - 1] == found[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[found.size()];
}

struct Score {
  int64_t samples = 0, exact = 0, words = 0, errors = 0;
  void add(const Score& other) {
    samples += other.samples, exact += other.exact, words += other.words, errors += other.errors;
  }
  double word_error_rate() const {
    return static_cast<double>(errors) / static_cast<double>(std::max<int64_t>(1, words));
  }
  double exact_share() const { return static_cast<double>(exact) / static_cast<double>(std::max<int64_t>(1, samples)); }
};

bool is_transcript(std::string_view task) {
  return !task.starts_with("ask_") && !task.starts_with("read_");
}

std::string answer_of(Engine& engine, const TrainingSample& sample, std::string_view task) {
  SamplingParams sampling;
  sampling.do_sample = false;
  sampling.max_tokens = 64;
  if (is_transcript(task)) {  // the way of `minicpm transcribe`
    const auto& sound = *sample.messages[0].content.back().sound;
    return transcribe_part(engine, sound, {0, static_cast<int64_t>(sound.size())}, transcript_instruction("en"),
                           sampling)
        .text;
  }
  ChatRequest request;
  request.messages = {sample.messages[0]};
  request.sampling = sampling;
  return engine.chat(request).text;
}

Score evaluate(Engine& engine, std::string_view task, const Options& options) {
  Score score;
  for (int64_t i = 0; i < options.samples; ++i) {
    const TrainingSample sample = make(task, Split::kTest, options.seed, i, options.make);
    const std::string expected = sample.messages[1].content[0].text, found = answer_of(engine, sample, task);
    const auto right = words_of(expected), words = words_of(found);
    const int64_t errors = word_errors(right, words);
    score.add({1, errors == 0 ? 1 : 0, static_cast<int64_t>(right.size()), errors});
    if (i < options.show) fmt::print("  {} {:<40} | {}\n", errors == 0 ? ' ' : 'x', expected, found);
  }
  return score;
}

void run(const Options& options) {
  const auto engine = Engine::load({options.model, ""}, {});
  Json json = {
      {"model", options.model}, {"samples", options.samples}, {"seed", options.seed}, {"tasks", Json::object()}};
  Score heard;
  for (const std::string_view task : tasks()) {
    const Score score = evaluate(*engine, task, options);
    if (is_transcript(task)) heard.add(score);
    fmt::print("{:<12}{:>6} samples  {:>6.1f} % right", task, score.samples, 100 * score.exact_share());
    if (is_transcript(task)) fmt::print("  word error rate {:>5.2f} %", 100 * score.word_error_rate());
    fmt::print("\n");
    std::fflush(stdout);
    json["tasks"][std::string(task)] = {{"exact", score.exact_share()}, {"word_error_rate", score.word_error_rate()}};
  }
  fmt::print("{:<12}{:>6} samples  {:>6.1f} % right  word error rate {:>5.2f} %\n", "transcripts", heard.samples,
             100 * heard.exact_share(), 100 * heard.word_error_rate());
  json["transcripts"] = {{"exact", heard.exact_share()}, {"word_error_rate", heard.word_error_rate()}};
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(2) + "\n");
}

}  // namespace
}  // namespace minicpm::pico_o

int main(int argc, char** argv) {
  minicpm::pico_o::Options options;
  CLI::App app("Measures a model that hears on held-out samples of pico-o's generator.");
  app.add_option("--model", options.model, "folder or name")->capture_default_str();
  app.add_option("--samples", options.samples, "of each task")->capture_default_str();
  app.add_option("--seed", options.seed, "of the samples")->capture_default_str();
  app.add_option("--difficulty", options.make.difficulty, "0 to 1")->capture_default_str();
  app.add_option("--show", options.show, "answers to print of each task");
  app.add_option("--json", options.json, "file for the scores");
  CLI11_PARSE(app, argc, argv);
  try {
    minicpm::pico_o::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "pico_o_eval: {}\n", error.what());
    return 1;
  }
  return 0;
}
