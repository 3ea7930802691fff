#include "server/engine_metrics.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>
#include <vector>

namespace minicpm::server {
namespace {

struct Row {
  std::string_view name, type, help;
  int64_t EngineStats::*value;
};

constexpr Row kRows[] = {
    {"answers", "gauge", "Answers being written or waiting for their prompt.", &EngineStats::callers},
    {"answers_begun", "gauge", "Answers whose prompt is computed.", &EngineStats::callers_begun},
    {"kv_blocks", "gauge", "Blocks of the KV cache.", &EngineStats::num_blocks},
    {"kv_blocks_free", "gauge", "Blocks of the KV cache that hold nothing.", &EngineStats::free_blocks},
    {"kept_sequences", "gauge", "Sequences kept for prompts with the same beginning.", &EngineStats::kept_sequences},
    {"steps_total", "counter", "Steps of the language model, each for all answers.", &EngineStats::steps},
    {"rows_total", "counter", "Tokens computed; by steps: the size of a batch.", &EngineStats::rows},
    {"reused_tokens_total", "counter", "Tokens of prompts that an earlier request had computed.",
     &EngineStats::reused_tokens},
    {"preemptions_total", "counter", "Sequences that lost their blocks for a time.", &EngineStats::preempted},
    {"drafted_tokens_total", "counter", "Guesses at tokens that were checked.", &EngineStats::drafted_tokens},
    {"accepted_tokens_total", "counter", "Guesses that were right.", &EngineStats::accepted_tokens},
    {"media_cache_bytes", "gauge", "Encoded pictures and sounds that are kept.", &EngineStats::media_cache_bytes},
    {"media_cache_hits_total", "counter", "Pictures and sounds that were kept.", &EngineStats::media_cache_hits},
    {"media_cache_misses_total", "counter", "Pictures and sounds that had to be encoded.",
     &EngineStats::media_cache_misses},
};

/// A label's value: backslash, quote and newline are escaped.
std::string label(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    result += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return result;
}

}  // namespace

std::string engine_metrics(ModelPool& pool) {
  std::vector<std::pair<std::string, EngineStats>> models;
  for (const ServedModel& model : pool.all())
    pool.with_engine(model, [&](const Engine& engine) { models.emplace_back(label(model.name), engine.stats()); });
  std::string out;
  for (const Row& row : kRows) {
    out += fmt::format("# HELP minicpm_engine_{0} {1}\n# TYPE minicpm_engine_{0} {2}\n", row.name, row.help, row.type);
    for (const auto& [model, stats] : models)
      out += fmt::format("minicpm_engine_{}{{model=\"{}\"}} {}\n", row.name, model, stats.*row.value);
  }
  return out;
}

}  // namespace minicpm::server
