#include "train/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/log.h"
#include "io/atomic_file.h"
#include "train/append_file.h"
#include "train/event_file.h"

namespace minicpm {
namespace {

double system_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

/// The step of a whole line, or nothing for a damaged one.
std::optional<int64_t> step_of(const Json& line) {
  const auto step = line.is_object() ? line.find("step") : line.end();
  if (!line.is_object() || step == line.end() || !step->is_number_integer()) return std::nullopt;
  return step->get<int64_t>();
}

float number_or_nan(const Json& line, const char* key) {
  const auto value = line.find(key);
  return value != line.end() && value->is_number() ? value->get<float>() : std::nanf("");
}

/// For the chart, from a line of `add`; nothing for one of `add_scalars`.
std::optional<ChartPoint> chart_point(const Json& line, int64_t step) {
  if (!line.contains("loss")) return std::nullopt;
  const float rate = number_or_nan(line, "lr");
  return ChartPoint{step, number_or_nan(line, "loss"), std::isfinite(rate) ? rate : 0.0f};
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& folder, RunLogOptions options)
    : folder_(folder), options_(std::move(options)) {
  if (!options_.clock) options_.clock = system_seconds;
  const auto file = folder_ / "log.jsonl";
  if (options_.resume_step) keep_lines_until(*options_.resume_step);
  const int replace = options_.resume_step ? 0 : O_TRUNC;
  fd_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | replace, 0644);
  if (fd_ < 0) fail_errno(file, "open the file");
  try {
    const int64_t first_step = options_.resume_step ? *options_.resume_step + 1 : 0;
    last_chart_ = options_.clock();
    events_ = std::make_unique<EventFile>(folder_, first_step, last_chart_);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

RunLog::~RunLog() {
  try {
    write_chart();
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
  ::close(fd_);
}

void RunLog::keep_lines_until(int64_t step) {
  const auto file = folder_ / "log.jsonl";
  std::ifstream in(file, std::ios::binary);
  if (!in) return;
  AtomicFile kept(file);
  int64_t damaged = 0;
  std::string text;
  while (std::getline(in, text)) {
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    const auto line_step = step_of(line);
    if (!line_step) ++damaged;
    if (!line_step || *line_step > step) continue;
    kept.write(text + "\n");
    if (const auto point = chart_point(line, *line_step)) points_.push_back(*point);
  }
  if (in.bad()) fail(ErrorCode::kIo, "{}: cannot be read", file.string());
  if (damaged > 0) log_warning("{}: {} damaged lines were dropped", file.string(), damaged);
  kept.commit();
}

void RunLog::append_line(const std::string& line) {
  write_all(fd_, line + "\n", folder_ / "log.jsonl");
}

void RunLog::add(const StepRecord& record) {
  Json line = {{"step", record.step},
               {"samples", record.samples},
               {"loss", number(record.loss)},
               {"lr", number(record.learning_rate)},
               {"grad_norm", number(record.grad_norm)},
               {"tokens_per_second", number(record.tokens_per_second)},
               {"seconds", number(record.seconds)}};
  std::vector<Scalar> scalars = {{"loss", record.loss},
                                 {"lr", record.learning_rate},
                                 {"grad_norm", record.grad_norm},
                                 {"tokens_per_second", record.tokens_per_second}};
  for (const Scalar& scalar : record.extra) {
    line[scalar.first] = number(scalar.second);
    scalars.push_back(scalar);
  }
  append_line(line.dump(-1, ' ', false, Json::error_handler_t::replace));
  const double now = options_.clock();
  events_->add(record.step, now, scalars);
  points_.push_back({record.step, static_cast<float>(record.loss), static_cast<float>(record.learning_rate)});
  if (now - last_chart_ >= options_.chart_seconds) write_chart();
}

void RunLog::add_scalars(int64_t step, std::span<const Scalar> scalars) {
  Json line = {{"step", step}};
  for (const auto& [name, value] : scalars)
    line[name] = number(value);
  append_line(line.dump(-1, ' ', false, Json::error_handler_t::replace));
  events_->add(step, options_.clock(), scalars);
}

void RunLog::write_chart() {
  last_chart_ = options_.clock();
  write_file_atomically(folder_ / "loss.svg", loss_chart_svg(points_));
}

}  // namespace minicpm
