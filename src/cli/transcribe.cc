// `transcribe`: sound files to text and subtitles, one file after another; interrupted work goes on where it was.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "base/file_map.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/transcript.h"
#include "media/log_mel.h"
#include "media/sound.h"

namespace minicpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kTextWindow = 30, kSubtitleWindow = 10;  // seconds
constexpr int kMaxTokens = 512;                           // of one part; fast speech has about 8 a second
constexpr size_t kMaxPartialBytes = 256u << 20;

struct Job {
  std::string format, instruction;
  double window;
  std::string model;  // as the user named it, for the head of partial work
};

std::string rendered(const Transcript& transcript, const std::string& format) {
  if (format == "srt") return transcript_srt(transcript);
  if (format == "vtt") return transcript_vtt(transcript);
  if (format == "json") {
    return transcript_json(transcript).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return transcript_text(transcript);
}

/// What is known of a file whose transcript is not complete: a head that tells whether it fits, then a segment a line.
class PartialWork {
 public:
  PartialWork(fs::path path, const Json& head) : path_(std::move(path)) {
    const std::string line = head.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (fs::exists(path_)) read(line);
    out_.open(path_, std::ios::binary | (segments_.empty() ? std::ios::trunc : std::ios::app));
    if (segments_.empty()) write(line);
  }
  const std::vector<TranscriptSegment>& segments() const { return segments_; }

  void add(const TranscriptSegment& s) {
    write(Json{{"begin", s.begin}, {"end", s.end}, {"text", s.text}, {"cut_short", s.cut_short}}.dump(
        -1, ' ', false, Json::error_handler_t::replace));
  }
  void remove() {
    out_.close();
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

 private:
  /// A last line that was cut off when the program ended is done again.
  void read(const std::string& head) {
    const std::string text = read_file(path_, kMaxPartialBytes);
    size_t at = 0, good = 0;
    for (size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string line = text.substr(at, end - at);
      if (at == 0) {
        if (line != head) return;
      } else {
        try {
          const Json json = parse_json(line, path_.string());
          segments_.push_back({json.at("begin").get<double>(), json.at("end").get<double>(),
                               json.at("text").get<std::string>(), json.at("cut_short").get<bool>()});
        } catch (const std::exception&) {
          break;
        }
      }
      good = end + 1;
    }
    if (!segments_.empty()) fs::resize_file(path_, good);
  }
  void write(const std::string& line) {
    out_ << line << '\n' << std::flush;
    if (!out_) fail(ErrorCode::kIo, "{}: cannot be written", path_.string());
  }

  fs::path path_;
  std::ofstream out_;
  std::vector<TranscriptSegment> segments_;
};

Transcript transcribe_file(Engine& engine, const std::string& file, const Job& job, const SamplingParams& sampling,
                           const fs::path& target, bool quiet) {
  const Answering interruptible;
  const Sound sound = read_sound(file, {}, interruptible.cancel());
  const auto cuts = cut_sound(sound.samples, kAudioRate, static_cast<int64_t>(job.window * kAudioRate));
  Transcript transcript{file, sound.seconds(), {}};
  std::optional<PartialWork> partial;
  if (!target.empty()) {
    const Json head = {{"samples", sound.samples.size()},
                       {"window", job.window},
                       {"instruction", job.instruction},
                       {"model", job.model}};
    partial.emplace(target.string() + ".part", head);
    transcript.segments = partial->segments();
    if (transcript.segments.size() > cuts.size()) transcript.segments.resize(cuts.size());
  }
  const auto done_seconds = [&] {
    return transcript.segments.empty() ? int64_t{0} : static_cast<int64_t>(transcript.segments.back().end);
  };
  Progress progress(static_cast<int64_t>(sound.seconds()),
                    {.label = one_line(file), .unit_name = "s", .style = progress_style(quiet)}, done_seconds());
  for (size_t i = transcript.segments.size(); i < cuts.size(); ++i) {
    transcript.segments.push_back(
        transcribe_part(engine, sound.samples, cuts[i], job.instruction, sampling, interruptible.cancel()));
    if (partial) partial->add(transcript.segments.back());
    progress.update(done_seconds());
  }
  progress.finish();
  if (!target.empty()) {
    write_file_atomically(target, rendered(transcript, job.format));
    partial->remove();
  }
  return transcript;
}

/// "talk.mp3" -> OUT/talk.srt; files of one name get their whole name, talk.mp3.srt.
std::vector<fs::path> targets_of(const Options& options, const std::string& format) {
  std::vector<fs::path> targets(options.files.size());
  if (options.out.empty()) return targets;
  const std::string extension = "." + (format == "text" ? std::string("txt") : format);
  const auto short_name = [&](size_t i) { return fs::path(options.files[i]).stem().string() + extension; };
  for (size_t i = 0; i < targets.size(); ++i) {
    size_t same = 0;
    for (size_t k = 0; k < targets.size(); ++k)
      same += short_name(k) == short_name(i) ? 1 : 0;
    targets[i] = fs::path(options.out) /
                 (same == 1 ? short_name(i) : fs::path(options.files[i]).filename().string() + extension);
    for (size_t k = 0; k < i; ++k) {
      if (targets[k] == targets[i]) {
        fail(ErrorCode::kInvalidRequest, "{} and {} would both become {}", options.files[k], options.files[i],
             targets[i].string());
      }
    }
  }
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot be made: {}", options.out, error.message());
  return targets;
}

Job job_of(const Options& options) {
  Job job;
  job.format = options.format.empty() ? (options.json ? "json" : "text") : options.format;
  if (options.json && job.format != "json") {
    fail(ErrorCode::kInvalidRequest, "--json and --format {} exclude each other", job.format);
  }
  job.instruction =
      options.prompt ? *options.prompt : transcript_instruction(options.language.empty() ? "en" : options.language);
  const bool subtitles = job.format == "srt" || job.format == "vtt";
  job.window = options.window.value_or(subtitles ? kSubtitleWindow : kTextWindow);
  if (!(job.window >= 1 && job.window <= 30)) {
    fail(ErrorCode::kInvalidRequest, "--window {}: expected 1 to 30 seconds", job.window);
  }
  job.model = options.model;
  return job;
}

}  // namespace

int run_transcribe(const Options& options) {
  const Job job = job_of(options);
  for (const std::string& file : options.files) {
    if (!fs::is_regular_file(file)) fail(ErrorCode::kNotFound, "{}: no such file", file);
  }
  const std::vector<fs::path> targets = targets_of(options, job.format);
  const auto engine = Engine::load(model_spec(options), engine_options(options));
  SamplingParams sampling = engine->default_sampling(false, true);
  sampling.do_sample = false;
  sampling.max_tokens = static_cast<int>(options.max_tokens.value_or(kMaxTokens));
  Json documents = Json::array();
  for (size_t i = 0; i < options.files.size(); ++i) {
    if (!targets[i].empty() && fs::exists(targets[i])) {
      note(fmt::format("{}: is there already\n", targets[i].string()));
      continue;
    }
    const Transcript transcript =
        transcribe_file(*engine, options.files[i], job, sampling, targets[i], options.json && options.out.empty());
    if (!targets[i].empty()) {
      note(fmt::format("wrote {}\n", targets[i].string()));
    } else if (job.format == "json") {
      documents.push_back(transcript_json(transcript));
    } else {
      if (options.files.size() > 1) print(fmt::format("{}# {}\n", i == 0 ? "" : "\n", one_line(options.files[i])));
      print(printable(rendered(transcript, job.format)));
    }
  }
  if (options.out.empty() && job.format == "json") print_json(documents);
  flush_output();
  return kExitOk;
}

}  // namespace minicpm::cli
