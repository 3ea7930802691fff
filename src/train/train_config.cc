#include "train/train_config.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/file_map.h"

namespace minicpm {
namespace {

constexpr size_t kMaxConfigBytes = 1u << 20;

/// One key of an object: how it is read and how it is written.
struct Key {
  std::string name;
  std::function<void(const Json&)> read;  // throws nlohmann's type error, or Error
  std::function<Json()> write;
};
using Keys = std::vector<Key>;

template <typename T>
Key key(std::string name, T& field) {
  return {std::move(name), [&field](const Json& json) { field = json.get<T>(); }, [&field] { return Json(field); }};
}
template <typename T>
Key key(std::string name, std::optional<T>& field) {
  return {std::move(name),
          [&field](const Json& json) {
            field.reset();
            if (!json.is_null()) field = json.get<T>();
          },
          [&field] { return field ? Json(*field) : Json(); }};
}

void read_keys(const Json& json, const std::string& source, Keys keys) {
  if (!json.is_object()) fail(ErrorCode::kBadFile, "{}: expected an object, found {}", source, json.type_name());
  for (const auto& [name, value] : json.items()) {
    const auto found = std::ranges::find(keys, name, &Key::name);
    if (found == keys.end()) fail(ErrorCode::kBadFile, "{}: there is no setting \"{}\"", source, name);
    try {
      found->read(value);
    } catch (const Json::exception&) {
      fail(ErrorCode::kBadFile, "{}: \"{}\" cannot be {}", source, name, value.dump().substr(0, 60));
    }
  }
}
Json write_keys(const Keys& keys) {
  Json json = Json::object();
  for (const Key& k : keys)
    json[k.name] = k.write();
  return json;
}

Keys data_keys(DataConfig& d) {
  return {key("file", d.file), key("plugin", d.plugin), key("options", d.options), key("media_root", d.media_root),
          key("independent_turns", d.independent_turns)};
}
Key data_key(std::string name, DataConfig& data, const std::string& source) {
  return {name,
          [&data, name, source](const Json& json) {
            data = {};
            if (json.is_string()) {
              data.file = json.get<std::string>();
            } else {
              read_keys(json, source + ": " + name, data_keys(data));
            }
          },
          [&data] {
            if (data.plugin.empty() && data.media_root.empty() && !data.independent_turns) return Json(data.file);
            Json json = write_keys(data_keys(data));
            if (!data.independent_turns) json.erase("independent_turns");  // runs older than the key can be resumed
            return json;
          }};
}

Keys schedule_keys(StageConfig& s) {
  ScheduleConfig& c = s.schedule;
  return {{"schedule", [&c](const Json& json) { c.kind = parse_schedule(json.get<std::string>()); },
           [&c] { return Json(schedule_name(c.kind)); }},
          key("warmup", c.warmup),
          key("decay_fraction", c.decay_fraction),
          key("min_ratio", c.min_ratio)};
}

/// An object whose members are kept in order: names, or beginnings of names, with a value each.
template <typename T>
Key pairs_key(std::string name, std::vector<std::pair<std::string, T>>& pairs) {
  return {std::move(name),
          [&pairs](const Json& json) {
            pairs.clear();
            for (const auto& [name, value] : json.items())
              pairs.emplace_back(name, value.template get<T>());
          },
          [&pairs] {
            Json json = Json::object();
            for (const auto& [name, value] : pairs)
              json[name] = value;
            return json;
          }};
}

Keys stage_keys(StageConfig& s, const std::string& source) {
  Keys keys = {key("name", s.name),
               data_key("data", s.data, source),
               key("samples", s.samples),
               key("epochs", s.epochs),
               key("batch", s.batch),
               key("accumulation", s.accumulation),
               key("learning_rate", s.learning_rate),
               key("answer_loss", s.answer_loss),
               key("cell_loss", s.cell_loss),
               key("speech_loss", s.speech_loss),
               key("sort_batches", s.sort_batches),
               key("shuffle", s.shuffle),
               pairs_key("rate_scale", s.rate_scale)};
  for (Key& k : schedule_keys(s))
    keys.push_back(std::move(k));
  return keys;
}

Keys optimizer_keys(OptimizerConfig& o) {
  return {key("kind", o.kind),
          key("beta1", o.beta1),
          key("beta2", o.beta2),
          key("eps", o.eps),
          key("weight_decay", o.weight_decay),
          key("momentum", o.momentum),
          key("clip", o.clip)};
}

Keys lora_keys(LoraConfig& l) {
  return {key("r", l.r),
          key("alpha", l.alpha),
          key("dropout", l.dropout),
          key("target_modules", l.target_regex),
          key("modules_to_save", l.modules_to_save),
          key("use_rslora", l.rslora)};
}

Keys train_keys(TrainConfig& t, const std::string& source) {
  Keys keys = {key("model", t.model),
               key("out", t.out),
               key("from_scratch", t.from_scratch),
               pairs_key("parts", t.parts),
               key("tune_vision", t.tune_vision),
               key("tune_resampler", t.tune_resampler),
               key("tune_audio", t.tune_audio),
               key("tune_llm", t.tune_llm),
               key("dtype", t.dtype),
               key("save_dtype", t.save_dtype),
               key("device", t.device),
               key("gradient_checkpointing", t.gradient_checkpointing),
               key("max_tokens", t.max_tokens),
               key("max_slices", t.max_slices),
               key("cell_classes", t.cell_classes),
               key("seed", t.seed),
               key("threads", t.threads),
               key("log_every", t.log_every),
               key("eval_every", t.eval_every),
               key("save_every", t.save_every),
               key("save_minutes", t.save_minutes),
               key("keep", t.keep),
               key("skip_bad", t.skip_bad)};
  keys.push_back(
      {"optimizer",
       [&t, source](const Json& json) { read_keys(json, source + ": optimizer", optimizer_keys(t.optimizer)); },
       [&t] { return write_keys(optimizer_keys(t.optimizer)); }});
  keys.push_back({"lora",
                  [&t, source](const Json& json) {
                    t.lora.reset();
                    if (json.is_null()) return;
                    t.lora.emplace();
                    read_keys(json, source + ": lora", lora_keys(*t.lora));
                  },
                  [&t] { return t.lora ? write_keys(lora_keys(*t.lora)) : Json(); }});
  keys.push_back({"stages",
                  [&t, source](const Json& json) {
                    t.stages.clear();
                    for (const Json& entry : json) {
                      t.stages.emplace_back();
                      const std::string where = fmt::format("{}: stages[{}]", source, t.stages.size() - 1);
                      read_keys(entry, where, stage_keys(t.stages.back(), where));
                    }
                  },
                  [&t] {
                    Json list = Json::array();
                    for (StageConfig& stage : t.stages)
                      list.push_back(write_keys(stage_keys(stage, "")));
                    return list;
                  }});
  keys.push_back(
      {"eval",
       [&t, source](const Json& json) {
         t.eval.clear();
         for (const Json& entry : json) {
           t.eval.emplace_back();
           EvalSet& set = t.eval.back();
           const std::string where = fmt::format("{}: eval[{}]", source, t.eval.size() - 1);
           read_keys(entry, where,
                     {key("name", set.name), data_key("data", set.data, where), key("samples", set.samples)});
         }
       },
       [&t] {
         Json list = Json::array();
         for (EvalSet& set : t.eval)
           list.push_back(
               write_keys({key("name", set.name), data_key("data", set.data, ""), key("samples", set.samples)}));
         return list;
       }});
  return keys;
}

/// Paths in a file are relative to it.
void resolve(std::string& path, const std::filesystem::path& folder) {
  if (!path.empty() && std::filesystem::path(path).is_relative()) path = (folder / path).lexically_normal().string();
}

}  // namespace

TrainConfig parse_train_config(const Json& json, const std::string& source, TrainConfig base) {
  read_keys(json, source, train_keys(base, source));
  return base;
}

TrainConfig read_train_config(const std::filesystem::path& file) {
  const std::string text = read_file(file, kMaxConfigBytes);
  TrainConfig config = parse_train_config(parse_json(text, file.string()), file.string());
  const auto folder = file.parent_path();
  resolve(config.model, folder);
  for (auto& [prefix, model] : config.parts)
    resolve(model, folder);
  for (StageConfig& stage : config.stages)
    resolve(stage.data.file, folder), resolve(stage.data.plugin, folder);
  for (EvalSet& set : config.eval)
    resolve(set.data.file, folder), resolve(set.data.plugin, folder);
  return config;
}

Json train_config_json(const TrainConfig& config) {
  TrainConfig copy = config;  // keys refer to fields that can be written
  return write_keys(train_keys(copy, ""));
}

void check_train_config(const TrainConfig& config) {
  const auto require = [](bool ok, const std::string& why) {
    if (!ok) throw Error(ErrorCode::kInvalidRequest, why);
  };
  require(!config.model.empty(), "training needs a model folder");
  require(!config.out.empty(), "training needs an output folder (--out)");
  require(!config.stages.empty(), "training needs data");
  require(config.dtype == "f32" || config.dtype == "bf16",
          fmt::format("dtype \"{}\"; known are f32 and bf16", config.dtype));
  require(config.save_dtype == "f32" || config.save_dtype == "bf16" || config.save_dtype == "f16",
          fmt::format("save_dtype \"{}\"; known are f32, f16 and bf16", config.save_dtype));
  require(config.device == "cpu" || config.device == "cuda",
          fmt::format("device \"{}\"; known are cpu and cuda", config.device));
  const OptimizerConfig& o = config.optimizer;
  require(o.kind == "adamw" || o.kind == "muon", fmt::format("optimizer \"{}\"; known are adamw and muon", o.kind));
  require(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1 && o.eps > 0 && o.momentum >= 0 && o.momentum < 1,
          "the optimizer's betas and momentum must lie in [0, 1), its eps above 0");
  require(o.weight_decay >= 0 && o.clip >= 0, "weight decay and clipping must not be negative");
  require(!(config.lora && config.from_scratch), "an adapter needs weights to adapt; it excludes from_scratch");
  require(config.parts.empty() || config.from_scratch, "parts of other models need from_scratch");
  require(config.max_tokens >= 8, "max_tokens must be at least 8");
  require(config.cell_classes >= 0 && config.cell_classes <= 4096, "cell_classes must lie between 0 and 4096");
  for (const StageConfig& s : config.stages) {
    const std::string where = fmt::format("stage \"{}\": ", s.name);
    require(!s.data.file.empty() || !s.data.plugin.empty(), where + "no data");
    require(s.data.file.empty() || s.data.plugin.empty(), where + "data from a file and from a plug-in");
    require(s.samples > 0 || (s.samples == 0 && s.epochs > 0), where + "samples or epochs must be positive");
    require(s.batch >= 1 && s.batch <= 65536, where + "batch must lie between 1 and 65536");
    require(s.accumulation >= 1 && s.accumulation <= 65536, where + "accumulation must lie between 1 and 65536");
    require(s.learning_rate >= 0 && std::isfinite(s.learning_rate), where + "the learning rate must not be negative");
    require(s.sort_batches >= 1 && s.sort_batches <= 1024, where + "sort_batches must lie between 1 and 1024");
    require(s.answer_loss >= 0 && s.cell_loss >= 0 && s.speech_loss >= 0, where + "the weight of a loss is negative");
    require(s.answer_loss + s.cell_loss + s.speech_loss > 0, where + "no loss to train on");
    require(s.cell_loss == 0 || config.cell_classes > 1, where + "cell_loss needs cell_classes");
  }
}

}  // namespace minicpm
