#include "train/torch/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/file_map.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"
#include "models/lora_writer.h"

namespace minicpm::train {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxStateBytes = 4u << 20;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot be created: {}", folder.string(), error.message());
}

void sync_folder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

/// Complete checkpoints, oldest first.
std::vector<std::pair<int64_t, fs::path>> checkpoints(const fs::path& out) {
  std::vector<std::pair<int64_t, fs::path>> result;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(out / "checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("step-", 0) != 0 || !fs::exists(entry.path() / "state.json", error)) continue;
    result.emplace_back(std::atoll(name.c_str() + 5), entry.path());
  }
  std::ranges::sort(result);
  return result;
}

/// A folder under a temporary name until commit(); without it nothing remains.
class PendingFolder {
 public:
  explicit PendingFolder(const fs::path& path) : path_(path), temporary_(path.string() + ".tmp") {
    std::error_code error;
    fs::remove_all(temporary_, error);
    make_folder(temporary_);
  }
  ~PendingFolder() {
    std::error_code error;
    if (!done_) fs::remove_all(temporary_, error);
  }
  PendingFolder(const PendingFolder&) = delete;
  PendingFolder& operator=(const PendingFolder&) = delete;
  const fs::path& path() const { return temporary_; }
  void commit() {
    sync_folder(temporary_);
    std::error_code error;
    fs::remove_all(path_, error);
    fs::rename(temporary_, path_, error);
    if (error) fail(ErrorCode::kIo, "{}: cannot be renamed: {}", temporary_.string(), error.message());
    sync_folder(path_.parent_path());
    done_ = true;
  }

 private:
  fs::path path_, temporary_;
  bool done_ = false;
};

DType dtype_of(const std::string& name) {
  return name == "f32" ? DType::kF32 : name == "f16" ? DType::kF16 : DType::kBF16;
}

/// Weights are written anew; everything else that lies in the folder belongs to the model and is copied.
bool is_weight_file(const fs::path& file) {
  const std::string name = file.filename().string();
  return file.extension() == ".safetensors" || file.extension() == ".gguf" || file.extension() == ".bin" ||
         name.ends_with(".index.json");
}

/// What a run that made the source left there; this run writes its own.
bool is_run_record(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == "log.jsonl" || name == "train.json" || name == "loss.svg" || name.starts_with("events.out.tfevents.");
}

}  // namespace

std::optional<fs::path> newest_checkpoint(const fs::path& out) {
  const auto all = checkpoints(out);
  if (all.empty()) return std::nullopt;
  return all.back().second;
}

fs::path write_checkpoint(const fs::path& out, const CheckpointState& state, const Parameters& parameters,
                          const Optimizer& optimizer, int64_t keep) {
  make_folder(out / "checkpoints");
  const fs::path path = out / "checkpoints" / fmt::format("step-{:08}", state.step);
  PendingFolder folder(path);
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, value] : parameters.all())
    tensors.push_back(torch_to_write(name, value, DType::kF32));
  for (const auto& [name, value] : optimizer.state())
    tensors.push_back(torch_to_write("optimizer." + name, value, DType::kF32));
  write_safetensors(folder.path() / "training.safetensors", std::move(tensors));
  const Json json = {{"step", state.step},       {"stage", state.stage},     {"stage_step", state.stage_step},
                     {"samples", state.samples}, {"seconds", state.seconds}, {"config", state.config}};
  write_file_atomically(folder.path() / "state.json", json.dump(2) + "\n");
  folder.commit();
  auto all = checkpoints(out);
  std::error_code error;
  for (size_t i = 0; i + static_cast<size_t>(std::max<int64_t>(keep, 1)) < all.size(); ++i)
    fs::remove_all(all[i].second, error);
  return path;
}

CheckpointState read_checkpoint_state(const fs::path& checkpoint) {
  const std::string file = (checkpoint / "state.json").string();
  const Json json = parse_json(read_file(file, kMaxStateBytes), file);
  const JsonObject object(json, file);
  const auto integer = [&](const char* key) {
    const auto value = object.find_int(key);
    if (!value || *value < 0) fail(ErrorCode::kBadFile, "{}: \"{}\" is missing", file, key);
    return *value;
  };
  CheckpointState state;
  state.step = integer("step");
  state.stage = integer("stage");
  state.stage_step = integer("stage_step");
  state.samples = integer("samples");
  state.seconds = object.find_number("seconds").value_or(0);
  if (const Json* config = object.find("config")) state.config = *config;
  return state;
}

void read_checkpoint(const fs::path& checkpoint, Parameters& parameters, Optimizer& optimizer) {
  const auto source = open_safetensors(checkpoint / "training.safetensors");
  at::NoGradGuard no_grad;
  const auto read = [&](const std::string& stored_name, const Tensor& to) {
    const StoredTensor* stored = source->find(stored_name);
    if (stored == nullptr) fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source->path(), stored_name);
    const std::vector<int64_t> shape(stored->view.shape().begin(), stored->view.shape().end());
    if (at::IntArrayRef(shape) != to.sizes()) {
      fail(ErrorCode::kBadFile, "{}: tensor {} has the shape {}, expected {}", source->path(), stored_name,
           shape_string(shape), shape_string(to.sizes().vec()));
    }
    return to_torch(stored->view, shape, to.scalar_type());
  };
  for (const auto& [name, value] : parameters.all())
    value.copy_(read(name, value));
  std::vector<std::pair<std::string, Tensor>> moments;
  for (const auto& [name, value] : optimizer.state())
    moments.emplace_back(name, read("optimizer." + name, value));
  optimizer.load_state(moments, source->path());
}

void write_model_folder(const fs::path& folder, const fs::path& source, const Parameters& parameters,
                        const std::string& type, const WeightSource* before) {
  make_folder(folder);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(source, error)) {
    if (!entry.is_regular_file() || is_weight_file(entry.path()) || is_run_record(entry.path())) continue;
    const std::string name = entry.path().filename().string();
    std::string text = read_file(entry.path(), size_t{1} << 28);
    if (name == "config.json") {
      Json json = parse_json(text, entry.path().string());
      json["torch_dtype"] = type == "f32" ? "float32" : type == "f16" ? "float16" : "bfloat16";
      text = json.dump(2) + "\n";
    }
    write_file_atomically(folder / name, text);
  }
  std::vector<TensorToWrite> tensors = parameters.to_write(dtype_of(type));
  // Parts that are not run here, a speech decoder for example, stay as they are.
  if (before != nullptr) {
    for (const StoredTensor& tensor : before->tensors()) {
      const bool known = parameters.find(tensor.name).defined() || is_redundant(tensor.name);
      if (!known) tensors.push_back(tensor_to_write(tensor.name, tensor.view));
    }
  }
  write_safetensors(folder / "model.safetensors", std::move(tensors));
}

void write_adapter(const fs::path& folder, const TrainConfig& config, const Parameters& parameters) {
  LoraAdapter adapter;
  adapter.config = *config.lora;
  adapter.config.base_model = config.model;
  const LoraSelection selection(adapter.config);
  std::vector<Tensor> held;  // what the views point to
  const auto view = [&held](const Tensor& tensor) {
    const Tensor& t = held.emplace_back(tensor.detach().to(at::kCPU).contiguous());
    Weight w;
    w.data = t.data_ptr();
    w.dtype = DType::kF32;
    w.rank = static_cast<int>(t.dim());
    std::copy_n(t.sizes().begin(), t.dim(), w.dims);
    return w;
  };
  for (const auto& [name, value] : parameters.all()) {
    if (name.ends_with(".lora_A")) {
      const std::string module = name.substr(0, name.size() - std::strlen(".lora_A"));
      adapter.layers.push_back({module, view(value), view(parameters.at(module + ".lora_B"))});
    } else if (!name.ends_with(".lora_B") && selection.saves_whole(name)) {
      adapter.whole.push_back({name, view(value)});
    }
  }
  write_peft_adapter(folder, adapter);
}

}  // namespace minicpm::train
