#include "server/props.h"

#include <fmt/format.h>

#include <charconv>

#include "engine/default_sampling.h"
#include "models/model_config.h"
#include "server/model_voices.h"

namespace minicpm::server {
namespace {

/// 0.7f as 0.7, not as the 0.699999988… that it is in double precision.
double rounded(float value) {
  const std::string text = fmt::format("{}", value);
  double result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

Json params_json(const SamplingParams& params) {
  Json json = {{"max_tokens", params.max_tokens},
               {"min_tokens", params.min_new_tokens},
               {"repetition_penalty", rounded(params.repetition_penalty)},
               {"num_beams", params.num_beams}};
  if (!params.do_sample) return json;
  json["temperature"] = rounded(params.temperature);
  json["top_p"] = rounded(params.top_p);
  json["top_k"] = params.top_k;
  json["min_p"] = rounded(params.min_p);
  return json;
}

Json facts_json(const ServedModel& model, bool loaded) {
  Json json = {{"id", model.name}, {"loaded", loaded}};
  if (model.config == nullptr) return json;
  const ModelConfig& config = *model.config;
  const VersionRow& version = *config.version;
  json.update({{"title", version.title},
               {"vision", config.has_vision()},
               {"audio", config.has_audio()},
               {"voices", voice_names(model)},
               {"thinking", version.thinking},
               {"packed_video", config.has_vision() && version.temporal},
               {"max_slices", config.slices.max_slice_nums},
               {"defaults",
                {{"sampling", params_json(default_sampling(version, false, true))},
                 {"thinking", params_json(default_sampling(version, version.thinking, true))},
                 {"beams", params_json(default_sampling(version, false, false))}}}});
  return json;
}

}  // namespace

void props(ApiContext& context, Exchange& exchange) {
  Json models = Json::array();
  for (const ServedModel& model : context.models.all())
    models.push_back(facts_json(model, context.models.pool().loaded(model)));
  const MediaLimits& limits = context.media.limits();
  Json json = {{"build_info", "minicpm-" + context.version},
               {"limits", {{"file_bytes", limits.file_bytes}, {"files", limits.files}}}};
  if (!models.empty() && models.front().contains("defaults")) {
    const Json& first = models.front();
    json["model_alias"] = first["id"];
    json["modalities"] = {{"vision", first["vision"]}, {"audio", first["audio"]}};
    json["default_generation_settings"] = {{"params", first["defaults"]["sampling"]}};
  }
  json["models"] = std::move(models);
  send_json(exchange, json);
}

}  // namespace minicpm::server
