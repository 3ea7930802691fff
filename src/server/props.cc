#include "server/props.h"

#include <fmt/format.h>

#include <charconv>

#include "models/loaded_model.h"

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

Json facts_json(const ServedModel& model, const Engine& engine) {
  const LoadedModel& loaded = engine.model();
  const VersionRow& version = loaded.version();
  return {{"id", model.name},
          {"title", version.title},
          {"vision", loaded.has_vision()},
          {"audio", loaded.has_audio()},
          {"thinking", version.thinking},
          {"packed_video", loaded.has_vision() && version.temporal},
          {"max_slices", loaded.config().slices.max_slice_nums},
          {"defaults",
           {{"sampling", params_json(engine.default_sampling(false, true))},
            {"thinking", params_json(engine.default_sampling(version.thinking, true))},
            {"beams", params_json(engine.default_sampling(false, false))}}}};
}

}  // namespace

void props(ApiContext& context, Exchange& exchange) {
  Json models = Json::array();
  for (const ServedModel& model : context.models.all())
    context.models.pool().with_engine(model,
                                      [&](const Engine& engine) { models.push_back(facts_json(model, engine)); });
  const MediaLimits& limits = context.media.limits();
  Json json = {{"build_info", "minicpm-" + context.version},
               {"limits", {{"file_bytes", limits.file_bytes}, {"files", limits.files}}}};
  if (!models.empty()) {
    const Json& first = models.front();
    json["model_alias"] = first["id"];
    json["modalities"] = {{"vision", first["vision"]}, {"audio", first["audio"]}};
    json["default_generation_settings"] = {{"params", first["defaults"]["sampling"]}};
  }
  json["models"] = std::move(models);
  send_json(exchange, json);
}

}  // namespace minicpm::server
