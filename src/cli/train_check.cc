#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "models/description.h"
#include "train/check.h"
#include "train/dataset.h"

namespace minicpm::cli {
namespace {

constexpr size_t kShownBad = 20;  // of the list for people
constexpr int kBarColumns = 40;

Json distribution_json(const Distribution& values) {
  return {{"total", values.total}, {"min", values.min}, {"median", values.median},
          {"mean", values.mean},   {"p95", values.p95}, {"max", values.max}};
}

/// The message without the origin it begins with.
std::string reason_of(const BadSample& bad, const std::string& origin) {
  return bad.message.starts_with(origin + ": ") ? bad.message.substr(origin.size() + 2) : bad.message;
}

Json report_json(const DataReport& report, const JsonDataset& dataset) {
  Json bad = Json::array();
  for (const BadSample& sample : report.bad) {
    const std::string origin = dataset.origin(sample.index);
    const size_t colon = origin.rfind(':');
    bad.push_back({{"file", origin.substr(0, colon)},
                   {"line", std::stoll(origin.substr(colon + 1))},
                   {"reason", reason_of(sample, origin)}});
  }
  Json lengths = Json::array();
  for (const HistogramBin& bin : report.lengths)
    lengths.push_back({{"up_to", bin.up_to}, {"count", bin.count}});
  return {{"samples", report.samples},
          {"good", report.good()},
          {"bad", bad},
          {"text_only", report.text_only},
          {"pictures", distribution_json(report.pictures)},
          {"slices", distribution_json(report.slices)},
          {"sounds", distribution_json(report.sounds)},
          {"tokens", distribution_json(report.tokens)},
          {"prompt_tokens", distribution_json(report.prompt_tokens)},
          {"trained_tokens", distribution_json(report.trained_tokens)},
          {"lengths", lengths}};
}

void print_distribution(std::string_view name, const Distribution& values) {
  print(fmt::format("{:<16}{:>12}{:>8}{:>8}{:>9.1f}{:>8}{:>8}\n", name, values.total, values.min, values.median,
                    values.mean, values.p95, values.max));
}

void print_report(const DataReport& report) {
  print(fmt::format("{:<16}{:>12}   {} good, {} bad; {} of text alone\n\n", "samples", report.samples, report.good(),
                    report.bad.size(), report.text_only));
  print(fmt::format("{:<16}{:>12}{:>8}{:>8}{:>9}{:>8}{:>8}\n", "", "total", "min", "median", "mean", "p95", "max"));
  print_distribution("tokens", report.tokens);
  print_distribution("  prompt", report.prompt_tokens);
  print_distribution("  trained", report.trained_tokens);
  print_distribution("pictures", report.pictures);
  print_distribution("slices", report.slices);
  if (report.sounds.total > 0) print_distribution("sounds", report.sounds);
  if (!report.lengths.empty()) {
    const int64_t most = std::ranges::max_element(report.lengths, {}, &HistogramBin::count)->count;
    print("\nTokens of a sample\n");
    for (const HistogramBin& bin : report.lengths) {
      const std::string bar(static_cast<size_t>((bin.count * kBarColumns + most - 1) / most), '#');
      print(fmt::format("  up to {:>8}  {:>8}  {}\n", bin.up_to, bin.count, bar));
    }
  }
  if (report.bad.empty()) return;
  print("\nBad samples\n");
  for (size_t i = 0; i < std::min(report.bad.size(), kShownBad); ++i)
    print("  " + one_line(report.bad[i].message) + "\n");
  if (report.bad.size() > kShownBad) {
    print(fmt::format("  and {} more; --json lists them all\n", report.bad.size() - kShownBad));
  }
}

DataReport check(const JsonDataset& dataset, const Processor& processor, const Options& options) {
  CheckOptions settings;
  settings.encode.max_tokens = options.max_tokens.value_or(settings.encode.max_tokens);
  if (options.max_slices) settings.encode.max_slices = static_cast<int>(*options.max_slices);
  settings.threads = static_cast<int>(options.threads.value_or(0));
  Progress progress(dataset.size(),
                    {.label = "checking", .unit_name = "samples", .style = progress_style(options.json)});
  settings.progress = [&](int64_t done) { progress.update(done); };
  const Answering interruptible;
  settings.cancel = interruptible.cancel();
  DataReport report = check_samples(dataset, processor, settings);
  progress.update(dataset.size());
  progress.finish();
  return report;
}

}  // namespace

int run_train_check(const Options& options) {
  const ModelDescription model = read_description(find_model_files(options.model, options.mmproj));
  const Processor processor(model.config, *model.tokenizer);
  DatasetOptions settings;
  settings.media_root = options.media_root;
  settings.temporal = model.config.version->temporal;
  settings.slices = model.config.slices;
  const auto dataset = JsonDataset::open(options.data, settings);
  const DataReport report = check(*dataset, processor, options);
  if (options.json) {
    print_json(report_json(report, *dataset));
  } else {
    print_report(report);
  }
  if (report.bad.empty() || options.skip_bad) return kExitOk;
  flush_output();  // what was printed comes first where both go to one terminal
  const size_t more = report.bad.size() - 1;
  print_error(report.bad.front().message +
              (more > 0 ? fmt::format(" (and {} more bad {})", more, more == 1 ? "sample" : "samples") : ""));
  return kExitBadFile;
}

}  // namespace minicpm::cli
