// Measures how many questions a model answers rightly: on held-out samples of pico's generator, and on files of
// questions about other pictures.
//
//   pico_eval --model models/pico --samples 1000 --write      the published scores
//   pico_eval --model runs/pico --tasks word,count --samples 100 --show 20
//   pico_eval --model pico --data foreign/data.jsonl --tasks none
//
// A file of questions has one JSON object a line: {"task": NAME, "images": [FILE, ...], "messages": [{"role": "user",
// "content": "<image>Question?"}, {"role": "assistant", "content": "Answer"}, ...]}; paths are relative to the file.
// Each question of a conversation is asked by itself, after the pictures of its first message.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "engine/chat.h"
#include "media/image.h"
#include "pico/generator.h"
#include "scores.h"

namespace minicpm::pico {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxDataBytes = 64u << 20;
constexpr std::string_view kThinkEnd = "</think>";

struct Options {
  std::string model = "pico";
  std::string tasks = "all";
  std::vector<std::string> data;
  int64_t samples = 1000;
  int64_t show = 0;
  uint64_t seed = 20261123;
  int jobs = 0;
  bool exact = false, json = false, write = false;
  std::string root = ".";
  DrawOptions draw;
};

/// Samples of one task, made when they are asked for.
struct Job {
  std::string task;
  int64_t index = 0;
  std::shared_ptr<const TrainingSample> sample;  // from a file; null: drawn
};

std::string text_of(const Message& message) {
  std::string text;
  for (const ContentPart& part : message.content)
    text += part.text;
  return text;
}

struct Question {
  ChatRequest request;
  Outcome outcome;  // without the answer
};

std::vector<Question> questions_of(const std::string& task, const TrainingSample& sample) {
  std::vector<ContentPart> media;
  for (const ContentPart& part : sample.messages.at(0).content) {
    if (part.kind != ContentPart::Kind::kText) media.push_back(part);
  }
  std::vector<Question> questions;
  for (size_t i = 0; i + 1 < sample.messages.size(); i += 2) {
    Question question;
    Outcome& outcome = question.outcome;
    outcome.task = task;
    outcome.question = trimmed(text_of(sample.messages[i]));
    outcome.expected = trimmed(text_of(sample.messages[i + 1]));
    if (const size_t end = outcome.expected.find(kThinkEnd); end != std::string::npos) {
      question.request.thinking = true;
      outcome.expected = trimmed(std::string_view(outcome.expected).substr(end + kThinkEnd.size()));
    }
    outcome.kind = question_kind(outcome.question, outcome.expected);
    Message message{"user", media};
    message.content.push_back(ContentPart::from_text(outcome.question));
    question.request.messages.push_back(std::move(message));
    SamplingParams& sampling = question.request.sampling;
    sampling.do_sample = false;
    // Room for a wrong answer, but not for one that never ends; a letter is a token at most, reasoning some lines.
    sampling.max_tokens = static_cast<int>(2 * outcome.expected.size()) + (question.request.thinking ? 256 : 16);
    questions.push_back(std::move(question));
  }
  return questions;
}

std::shared_ptr<const TrainingSample> read_sample(const Json& line, const fs::path& folder, const std::string& origin) {
  const JsonObject object(line, origin);
  const auto list = [&](std::string_view key) {
    const Json* value = object.find(key);
    if (value == nullptr || !value->is_array() || value->empty()) {
      fail(ErrorCode::kBadFile, "{}: \"{}\" must be an array that is not empty", origin, key);
    }
    return *value;
  };
  auto sample = std::make_shared<TrainingSample>();
  sample->origin = origin;
  for (const Json& item : list("messages")) {
    const JsonObject message(item, origin);
    std::string content = message.find_string("content").value_or("");
    for (size_t at = content.find("<image>"); at != std::string::npos; at = content.find("<image>"))
      content.erase(at, std::string_view("<image>").size());
    sample->messages.push_back({message.find_string("role").value_or(""), {ContentPart::from_text(content)}});
  }
  std::vector<ContentPart>& first = sample->messages[0].content;
  for (const Json& item : list("images")) {
    if (!item.is_string()) fail(ErrorCode::kBadFile, "{}: \"images\" must hold names of files", origin);
    auto image = std::make_shared<const Image>(load_image(folder / item.get<std::string>()));
    first.insert(first.end() - 1, ContentPart::from_image(std::move(image)));
  }
  return sample;
}

void add_file(const fs::path& file, std::vector<Job>& jobs) {
  const std::string text = read_file(file, kMaxDataBytes);
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (trimmed(line).empty()) continue;
    const std::string origin = fmt::format("{}:{}", file.string(), number + 1);
    const Json json = parse_json(line, origin);
    Job job;
    job.task = JsonObject(json, origin).find_string("task").value_or(file.stem().string());
    job.sample = read_sample(json, file.parent_path(), origin);
    jobs.push_back(std::move(job));
  }
}

std::vector<Job> make_jobs(const Options& options) {
  std::vector<std::string> names;
  if (options.tasks == "all") {
    names.assign(tasks().begin(), tasks().end());
  } else if (options.tasks != "none") {
    for (size_t begin = 0; begin <= options.tasks.size();) {
      const size_t end = std::min(options.tasks.find(',', begin), options.tasks.size());
      names.push_back(options.tasks.substr(begin, end - begin));
      if (std::ranges::find(tasks(), names.back()) == tasks().end()) {
        fail(ErrorCode::kInvalidRequest, "--tasks: \"{}\" is no task; there are {}", names.back(),
             fmt::join(tasks(), ", "));
      }
      begin = end + 1;
    }
  }
  std::vector<Job> jobs;
  for (const std::string& name : names) {
    for (int64_t i = 0; i < options.samples; ++i)
      jobs.push_back({name, i, nullptr});
  }
  for (const std::string& file : options.data)
    add_file(file, jobs);
  return jobs;
}

/// Asks all questions on one engine of one thread for each worker: an engine serves one caller at a time, and a small
/// model does not fill two cores.
class Evaluation {
 public:
  Evaluation(const Options& options, std::vector<Job> jobs) : options_(options), jobs_(std::move(jobs)) {
    outcomes_.resize(jobs_.size());
  }

  void run() {
    const int wanted = options_.jobs > 0 ? options_.jobs : static_cast<int>(std::thread::hardware_concurrency());
    std::vector<std::thread> threads;
    for (int i = 0; i < std::max(1, wanted); ++i)
      threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads)
      thread.join();
    if (failure_) std::rethrow_exception(failure_);
  }

  /// Of each job, in order.
  const std::vector<std::vector<Outcome>>& outcomes() const { return outcomes_; }

 private:
  void work() {
    try {
      EngineOptions engine_options;
      engine_options.backend.num_threads = 1;
      engine_options.context_tokens = 4096;
      if (options_.exact) engine_options.precision = Precision::kExact;
      const auto engine = Engine::load({options_.model, ""}, engine_options);
      for (size_t i = next_++; i < jobs_.size(); i = next_++)
        answer(*engine, i);
    } catch (...) {
      next_ = jobs_.size();
      const std::scoped_lock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  void answer(Engine& engine, size_t i) {
    const Job& job = jobs_[i];
    const TrainingSample sample =
        job.sample ? *job.sample : draw(job.task, Split::kTest, options_.seed, job.index, options_.draw);
    for (Question& question : questions_of(job.task, sample)) {
      const auto start = std::chrono::steady_clock::now();
      const ChatResult result = engine.chat(question.request);
      question.outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      question.outcome.answer = trimmed(result.text);
      outcomes_[i].push_back(std::move(question.outcome));
    }
  }

  const Options& options_;
  std::vector<Job> jobs_;
  std::vector<std::vector<Outcome>> outcomes_;
  std::atomic<size_t> next_ = 0;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

Scores tally(const Options& options, const Evaluation& evaluation) {
  Scores scores;
  scores.model = fs::path(options.model).filename().string();
  scores.seed = options.seed;
  scores.samples = options.samples;
  for (const auto& outcomes : evaluation.outcomes()) {
    for (const Outcome& outcome : outcomes) {
      auto task = std::ranges::find(scores.tasks, outcome.task, &TaskScores::task);
      if (task == scores.tasks.end()) {
        scores.tasks.push_back({outcome.task, {}, {}, {}});
        task = scores.tasks.end() - 1;
      }
      task->add(outcome);
    }
  }
  return scores;
}

void show_wrong_answers(const Options& options, const Evaluation& evaluation) {
  std::map<std::string, int64_t> shown;
  for (const auto& outcomes : evaluation.outcomes()) {
    for (const Outcome& outcome : outcomes) {
      if (outcome.exact() || shown[outcome.task]++ >= options.show) continue;
      fmt::print(stderr, "{}: {} expected {} got {}\n", outcome.task, Json(outcome.question).dump(),
                 Json(outcome.expected).dump(),
                 Json(outcome.answer).dump(-1, ' ', false, Json::error_handler_t::replace));
    }
  }
}

/// scores.json, the page in docs/ and, where the model is there, its card.
void write_files(const fs::path& root, const Json& scores) {
  const fs::path recipe = root / "recipes" / "pico";
  write_file_atomically(recipe / "scores.json", scores.dump(2) + "\n");
  write_file_atomically(root / "docs" / "pico-scores.md", scores_markdown(scores));
  const fs::path card = root / "models" / "pico";
  if (!fs::is_directory(card)) return;
  const std::string text = read_file(recipe / "model_card.md", kMaxDataBytes);
  write_file_atomically(card / "README.md", fill_model_card(text, scores));
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Measures how many questions a model answers rightly.");
  app.add_option("--model", options.model, "folder, GGUF file or name")->capture_default_str();
  app.add_option("--tasks", options.tasks, "names of the generator's tasks with commas, all, or none")
      ->capture_default_str();
  app.add_option("--data", options.data, "files of questions (JSON lines)");
  app.add_option("--samples", options.samples, "held-out samples of each task")->capture_default_str();
  app.add_option("--seed", options.seed, "of the samples")->capture_default_str();
  app.add_option("--difficulty", options.draw.difficulty, "0 to 1")->capture_default_str();
  app.add_option("--min-letters", options.draw.min_letters, "of words that are read")->capture_default_str();
  app.add_option("--max-letters", options.draw.max_letters, "of words that are read")->capture_default_str();
  app.add_option("--show", options.show, "print so many wrong answers of each task");
  app.add_option("--jobs", options.jobs, "engines at work, each on one thread; 0: one per processor")
      ->check(CLI::Range(0, 256));
  app.add_flag("--exact", options.exact, "compute in f32 throughout");
  app.add_flag("--json", options.json, "print JSON");
  app.add_flag("--write", options.write,
               "write recipes/pico/scores.json, docs/pico-scores.md and models/pico/README.md");
  app.add_option("--root", options.root, "source tree, for --write")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    Evaluation evaluation(options, make_jobs(options));
    evaluation.run();
    const Scores scores = tally(options, evaluation);
    show_wrong_answers(options, evaluation);
    const Json json = scores_json(scores);
    fmt::print("{}", options.json ? json.dump(2) + "\n" : scores_text(scores));
    if (options.write) write_files(options.root, json);
  } catch (const std::exception& error) {
    fmt::print(stderr, "pico_eval: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm::pico

int main(int argc, char** argv) {
  return minicpm::pico::run(argc, argv);
}
