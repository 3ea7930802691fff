#include "models/lora.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/file_map.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "io/tensor_table.h"
#include "quant/format.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = 4 << 20;
constexpr int64_t kMaxLoraRank = 1 << 16;
constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kSuffixA = ".lora_A.weight";
constexpr std::string_view kSuffixB = ".lora_B.weight";

/// Keys that make an adapter more than W + scale * B A, where they hold anything but null, false, 0, "" or nothing.
constexpr std::string_view kUnsupportedKeys[] = {"use_dora",          "fan_in_fan_out",    "lora_bias",
                                                 "rank_pattern",      "alpha_pattern",     "use_qalora",
                                                 "layer_replication", "target_parameters", "trainable_token_indices"};

/// Initialisations that leave the base's weights as they are; the others subtract the first product from them.
constexpr std::string_view kPlainInitialisations[] = {"gaussian", "eva", "orthogonal"};

bool is_nothing(const Json& value) {
  return value.is_null() || value == false || value == 0 || value == "" || (value.is_structured() && value.empty());
}

/// A list of strings, or nothing.
std::vector<std::string> read_strings(const JsonObject& json, std::string_view key) {
  std::vector<std::string> out;
  const Json* list = json.find(key);
  if (list == nullptr) return out;
  if (!list->is_array()) fail(ErrorCode::kBadFile, "{}: \"{}\" must be a list of strings", json.source(), key);
  for (const Json& entry : *list) {
    if (!entry.is_string()) fail(ErrorCode::kBadFile, "{}: \"{}\" must be a list of strings", json.source(), key);
    out.push_back(entry.get<std::string>());
  }
  return out;
}

/// target_modules is a regular expression for whole names, or a list of the names' last parts.
std::string read_targets(const JsonObject& json) {
  const Json* targets = json.find("target_modules");
  if (targets == nullptr) return "";
  if (targets->is_string()) return targets->get<std::string>();
  std::string choices;
  for (const std::string& name : read_strings(json, "target_modules"))
    choices += (choices.empty() ? "" : "|") + regex_escaped(name);
  return fmt::format(R"((.*\.)?({}))", choices);
}

void refuse_other_kinds(const JsonObject& json) {
  const std::string& file = json.source();
  const std::string type = json.find_string("peft_type").value_or("LORA");
  if (type != "LORA") {
    fail(ErrorCode::kUnsupported, "{}: \"peft_type\" is \"{}\"; only LORA adapters are supported", file, type);
  }
  for (std::string_view key : kUnsupportedKeys) {
    const Json* value = json.find(key);
    if (value == nullptr || is_nothing(*value)) continue;
    fail(ErrorCode::kUnsupported, "{}: adapters with \"{}\": {} are not supported", file, key,
         value->dump().substr(0, 60));
  }
  const std::string bias = json.find_string("bias").value_or("none");
  if (bias != "none") {
    fail(ErrorCode::kUnsupported, "{}: \"bias\" is \"{}\"; only adapters without biases (\"none\") are supported", file,
         bias);
  }
  const Json* start = json.find("init_lora_weights");
  if (start == nullptr || !start->is_string()) return;
  if (std::ranges::find(kPlainInitialisations, start->get<std::string>()) == std::end(kPlainInitialisations)) {
    fail(ErrorCode::kUnsupported,
         "{}: \"init_lora_weights\" is {}, which changes the base model's weights; convert the adapter to a plain one",
         file, start->dump());
  }
}

bool is_adapter_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

void check_type(const StoredTensor& tensor) {
  if (is_adapter_type(tensor.view.dtype)) return;
  fail(ErrorCode::kUnsupported, "{}: tensor {} has type {}; adapters hold F32, F16 or BF16", tensor.file, tensor.name,
       name(tensor.view.dtype));
}

void check_finite(const StoredTensor& tensor) {
  std::vector<float> row(static_cast<size_t>(tensor.view.cols()));
  for (int64_t r = 0; r < tensor.view.rows(); ++r) {
    dequantize_row(tensor.view.dtype, tensor.view.row(r), row.data(), tensor.view.cols());
    if (std::ranges::all_of(row, [](float value) { return std::isfinite(value); })) continue;
    fail(ErrorCode::kBadFile, "{}: tensor {} holds values that are not numbers; its training may have diverged",
         tensor.file, tensor.name);
  }
}

/// A matrix of an adapter: two dims, of which one is the rank.
void check_matrix(const StoredTensor& tensor, int rank_dim, int64_t r) {
  check_type(tensor);
  if (tensor.view.rank != 2 || tensor.view.dims[rank_dim] != r) {
    fail(ErrorCode::kBadFile, "{}: tensor {} has shape {}, which does not fit the rank {} of {}", tensor.file,
         tensor.name, shape_string(tensor.view.shape()), r, kLoraConfigFile);
  }
  check_finite(tensor);
}

}  // namespace

LoraConfig read_lora_config(const fs::path& file) {
  const Json parsed = parse_json(read_file(file, kMaxConfigBytes), file.string());
  const JsonObject json(parsed, file.string());
  refuse_other_kinds(json);
  LoraConfig config;
  const auto r = json.find_int("r");
  if (!r || *r < 1 || *r > kMaxLoraRank) {
    fail(ErrorCode::kBadFile, "{}: \"r\" must be a whole number between 1 and {}, but {}", file.string(), kMaxLoraRank,
         r ? fmt::format("is {}", *r) : "is missing");
  }
  config.r = *r;
  const auto alpha = json.find_number("lora_alpha");
  if (!alpha || !std::isfinite(static_cast<float>(*alpha))) {
    fail(ErrorCode::kBadFile, "{}: \"lora_alpha\" must be a finite number", file.string());
  }
  config.alpha = static_cast<float>(*alpha);
  config.dropout = static_cast<float>(json.find_number("lora_dropout").value_or(0.0));
  config.rslora = json.find_bool("use_rslora").value_or(false);
  config.target_regex = read_targets(json);
  config.modules_to_save = read_strings(json, "modules_to_save");
  config.base_model = json.find_string("base_model_name_or_path").value_or("");
  config.task_type = json.find_string("task_type").value_or("");
  return config;
}

LoraSelection::LoraSelection(const LoraConfig& config)
    : targets_(config.target_regex, "target modules"), modules_to_save_(config.modules_to_save) {}

bool LoraSelection::adapts(std::string_view module) const {
  return targets_.full_match(module);
}

bool LoraSelection::saves_whole(std::string_view tensor) const {
  for (size_t dot = tensor.find('.'); dot != std::string_view::npos; dot = tensor.find('.', dot + 1)) {
    const std::string_view module = tensor.substr(0, dot);
    if (std::ranges::any_of(modules_to_save_, [&](const std::string& end) { return module.ends_with(end); }))
      return true;
  }
  return false;
}

std::unique_ptr<Lora> Lora::open(const fs::path& folder, float strength, FileAccess access) {
  if (!fs::is_directory(folder)) {
    fail(ErrorCode::kNotFound, "{}: there is no such folder; an adapter is a folder with {} and {}", folder.string(),
         kLoraConfigFile, kLoraWeightsFile);
  }
  if (!fs::exists(folder / kLoraConfigFile)) {
    fail(ErrorCode::kNotFound, "{}: holds no adapter: {} is missing", folder.string(), kLoraConfigFile);
  }
  if (!std::isfinite(strength)) fail(ErrorCode::kInvalidRequest, "the scale of an adapter must be a finite number");
  std::unique_ptr<Lora> lora(new Lora());
  lora->path_ = folder.string();
  lora->adapter_.config = read_lora_config(folder / kLoraConfigFile);
  lora->scale_ = lora->adapter_.config.scale() * strength;
  if (!fs::exists(folder / kLoraWeightsFile)) {
    const bool pickle = fs::exists(folder / "adapter_model.bin");
    fail(pickle ? ErrorCode::kUnsupported : ErrorCode::kNotFound, "{}: {} is missing{}", folder.string(),
         kLoraWeightsFile, pickle ? "; adapter_model.bin is a Python pickle, save the adapter as safetensors" : "");
  }
  lora->source_ = open_safetensors(folder / kLoraWeightsFile, access);
  lora->read_tensors();
  return lora;
}

void Lora::read_tensors() {
  std::map<std::string_view, const StoredTensor*> b_of;  // by module
  const auto part = [](const StoredTensor& tensor, std::string_view suffix) {
    return std::string_view(tensor.name).substr(kPrefix.size(), tensor.name.size() - kPrefix.size() - suffix.size());
  };
  for (const StoredTensor& tensor : source_->tensors()) {
    if (!tensor.name.starts_with(kPrefix)) {
      fail(ErrorCode::kBadFile, "{}: tensor {} does not start with {}, as all tensors of an adapter do", tensor.file,
           tensor.name, kPrefix);
    }
    if (tensor.name.ends_with(kSuffixB)) b_of[part(tensor, kSuffixB)] = &tensor;
  }
  for (const StoredTensor& tensor : source_->tensors()) {
    if (tensor.name.ends_with(kSuffixB)) continue;
    if (tensor.name.ends_with(kSuffixA)) {
      const std::string_view module = part(tensor, kSuffixA);
      const auto b = b_of.find(module);
      if (b == b_of.end()) {
        fail(ErrorCode::kBadFile, "{}: tensor {} has no {} beside it", tensor.file, tensor.name, kSuffixB.substr(1));
      }
      check_matrix(tensor, 0, adapter_.config.r);
      check_matrix(*b->second, 1, adapter_.config.r);
      adapter_.layers.push_back({std::string(module), tensor.view, b->second->view});
      b_of.erase(b);
      continue;
    }
    if (tensor.name.find(".lora_") != std::string::npos || tensor.name.find(".base_layer.") != std::string::npos) {
      fail(ErrorCode::kUnsupported, "{}: tensor {} is of a kind that is not supported; only linear layers are adapted",
           tensor.file, tensor.name);
    }
    check_type(tensor);
    adapter_.whole.push_back({std::string(part(tensor, "")), tensor.view});
  }
  if (!b_of.empty()) {
    fail(ErrorCode::kBadFile, "{}: tensor {} has no {} beside it", source_->path(), b_of.begin()->second->name,
         kSuffixA.substr(1));
  }
  if (adapter_.layers.empty() && adapter_.whole.empty()) {
    fail(ErrorCode::kBadFile, "{}: the adapter is empty", source_->path());
  }
}

int64_t Lora::bytes() const {
  int64_t total = 0;
  for (const StoredTensor& tensor : source_->tensors())
    total += stored_bytes(tensor.view);
  return total;
}

namespace {

/// Converters reorder the rows of q and k for rotations of neighbouring pairs: row (head, half, j) of the Hugging Face
/// matrix is row (head, j, half) of the GGUF one.
bool has_reordered_rows(const PartSpec& part, const ModelConfig& config) {
  return config.gguf && config.decoder.rope_style == RopeStyle::kNeighbours && part.part == ModelPart::kLanguage &&
         (part.spec.gguf.ends_with("attn_q.weight") || part.spec.gguf.ends_with("attn_k.weight"));
}

void reorder_rows(const Weight& from, int64_t head_dim, std::byte* to) {
  const int64_t bytes = row_bytes(from.dtype, from.cols()), pairs = head_dim / 2;
  for (int64_t row = 0; row < from.rows(); ++row) {
    const int64_t head = row / head_dim, half = row % head_dim / pairs, j = row % pairs;
    std::memcpy(to + (head * head_dim + 2 * j + half) * bytes, from.row(row), static_cast<size_t>(bytes));
  }
}

}  // namespace

void Lora::fail_absent(std::string_view what, const ModelConfig& config) const {
  const std::string& base = adapter_.config.base_model;
  fail(ErrorCode::kBadFile, "{}: changes {}, which {} ({}) does not have; the adapter was trained for {}", path_, what,
       config.source, config.version->title, base.empty() ? "another model" : base);
}

void Lora::fail_shape(std::string_view what, const Weight& found, std::span<const int64_t> expected,
                      const ModelConfig& config) const {
  const std::string& base = adapter_.config.base_model;
  fail(ErrorCode::kBadFile, "{}: {} has shape {}, but {} ({}) needs {}; the adapter was trained for {}", path_, what,
       shape_string(found.shape()), config.source, config.version->title, shape_string(expected),
       base.empty() ? "another model" : base);
}

void Lora::bind_layer(const LoraLayer& layer, const PartSpec* part, const ModelConfig& config) {
  if (part == nullptr) fail_absent(layer.module, config);
  const TensorSpec& spec = part->spec;
  if (spec.role == Role::kEmbedding) {
    fail(ErrorCode::kUnsupported, "{}: {} is an embedding, which has to be saved whole (modules_to_save)", path_,
         layer.module);
  }
  if (spec.role != Role::kLinear || spec.layout != Layout::kSame || spec.shape.size() != 2) {
    fail(ErrorCode::kUnsupported, "{}: {} is not a linear layer, so no low-rank adapter applies to it", path_,
         layer.module);
  }
  const int64_t r = adapter_.config.r;
  const int64_t a_shape[] = {r, spec.shape[1]}, b_shape[] = {spec.shape[0], r};
  const auto check = [&](std::string_view suffix, const Weight& found, std::span<const int64_t> expected) {
    if (!std::ranges::equal(found.shape(), expected)) {
      fail_shape(fmt::format("{}{}", layer.module, suffix), found, expected, config);
    }
  };
  check(kSuffixA, layer.a, a_shape);
  check(kSuffixB, layer.b, b_shape);
  LowRank low_rank{layer.a, layer.b, scale_};
  if (has_reordered_rows(*part, config)) {
    copies_.push_back(std::make_unique<std::byte[]>(static_cast<size_t>(layer.b.bytes())));
    reorder_rows(layer.b, config.decoder.head_dim, copies_.back().get());
    low_rank.b.data = copies_.back().get();
  }
  low_rank_[spec.hf] = low_rank;
}

void Lora::bind_whole(const WholeTensor& tensor, const PartSpec* part, const ModelConfig& config) {
  if (is_redundant(tensor.name)) return;
  if (part == nullptr) fail_absent(tensor.name, config);
  if (has_reordered_rows(*part, config)) {
    fail(ErrorCode::kUnsupported,
         "{}: holds {} whole, whose rows a GGUF file of this kind keeps in another order; use the Hugging Face folder",
         path_, tensor.name);
  }
  const std::vector<int64_t> expected = part->spec.hf_shape();
  if (!std::ranges::equal(tensor.view.shape(), expected)) fail_shape(tensor.name, tensor.view, expected, config);
  whole_[tensor.name] = {tensor.name, tensor.view, source_->path()};
}

void Lora::bind(const ModelConfig& config) {
  std::unordered_map<std::string, PartSpec> parts;  // of stacked projections any third will do: names and shapes agree
  for (PartSpec& part : tensor_specs(config)) {
    // A tied output matrix is the embedding table and has no tensor of its own.
    if (part.spec.hf == fmt::format("{}lm_head.weight", config.version->llm_prefix) && config.decoder.tied_embeddings)
      continue;
    parts.emplace(part.spec.hf, std::move(part));
  }
  const auto find = [&](const std::string& tensor) {
    const auto it = parts.find(tensor);
    return it == parts.end() ? nullptr : &it->second;
  };
  for (const LoraLayer& layer : adapter_.layers)
    bind_layer(layer, find(layer.module + ".weight"), config);
  for (const WholeTensor& tensor : adapter_.whole)
    bind_whole(tensor, find(tensor.name), config);
}

const LowRank* Lora::low_rank(std::string_view tensor) const {
  const auto it = low_rank_.find(tensor);
  return it == low_rank_.end() ? nullptr : &it->second;
}

const StoredTensor* Lora::whole(std::string_view tensor) const {
  const auto it = whole_.find(tensor);
  return it == whole_.end() ? nullptr : &it->second;
}

}  // namespace minicpm
