#include "server/served_models.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/machine.h"
#include "io/hub_cache.h"
#include "io/model_files.h"
#include "models/description.h"
#include "models/loaded_model.h"
#include "server/api_error.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

void add_file(const fs::path& file, ServedModel& model) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) return;
  model.bytes += static_cast<int64_t>(size);
  const auto written = fs::last_write_time(file, error);
  if (error) return;
  const auto time = std::chrono::file_clock::to_sys(written).time_since_epoch();
  model.modified = std::max<int64_t>(model.modified, std::chrono::duration_cast<std::chrono::seconds>(time).count());
}

void add_files(const ModelFiles& files, ServedModel& model) {
  model.gguf = files.kind == ModelFiles::Kind::kGguf;
  if (model.gguf) {
    add_file(files.gguf, model);
    add_file(files.mmproj, model);
    return;
  }
  model.folder = files.folder;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.folder, error)) {
    if (entry.path().extension() == ".safetensors") add_file(entry.path(), model);
  }
}

}  // namespace

ServedModel load_served_model(const ModelSpec& spec, const EngineOptions& options) {
  ServedModel model{served_name(spec.model), Engine::load(spec, options)};
  model.spec = spec;
  model.options = options;
  model.family = model.model().version().key;
  model.config = std::make_shared<const ModelConfig>(model.model().config());
  add_files(find_model_files(spec.model, spec.mmproj), model);
  if (model.model().tokenizer() == nullptr) fail(ErrorCode::kUnsupported, "{}: has no tokenizer", model.name);
  return model;
}

ServedModel describe_served_model(const ModelSpec& spec, const EngineOptions& options) {
  ServedModel model{served_name(spec.model), nullptr};
  model.spec = spec;
  model.options = options;
  model.on_demand = true;
  const ModelFiles files = find_model_files(spec.model, spec.mmproj);
  model.config = std::make_shared<const ModelConfig>(std::move(read_description(files).config));
  model.family = model.config->version->key;
  add_files(files, model);
  return model;
}

std::string served_name(const std::string& model) {
  fs::path path(model);
  std::error_code error;
  if (const auto name = parse_hub_name(model); name && !fs::exists(path, error)) return name->text();
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  const std::string name = path.filename().string();
  return name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
}

ModelPool::ModelPool(std::vector<ServedModel> models, PoolOptions options) : options_(std::move(options)) {
  if (models.empty() && !options_.grows) fail(ErrorCode::kInvalidRequest, "there is no model to serve");
  if (!options_.available_bytes) options_.available_bytes = [] { return machine_memory().available_bytes; };
  for (ServedModel& model : models) {
    if (find_slot(model.name) != nullptr) {
      fail(ErrorCode::kInvalidRequest, "two models would both be called \"{}\"", model.name);
    }
    slots_.push_back({std::move(model), {.keep_alive = options_.keep_alive}});
  }
  const auto on_demand = [](const Slot& slot) { return slot.model.on_demand; };
  if (options_.grows || std::ranges::any_of(slots_, on_demand)) {
    janitor_ = std::jthread([this](const std::stop_token& stop) { unload_idle_ones(stop); });
  }
}

ModelPool::~ModelPool() = default;  // the janitor is the last member: it ends first

ModelPool::Slot* ModelPool::find_slot(const std::string& name) const {
  const auto found = std::ranges::find_if(slots_, [&](const Slot& slot) {
    const std::string& own = slot.model.name;
    return !slot.removed && (name.empty() || own == name || own + ":latest" == name);
  });
  return found == slots_.end() ? nullptr : &*found;
}

ModelPool::Slot& ModelPool::slot_of(const ServedModel& model) const {
  return *std::ranges::find_if(slots_, [&](const Slot& slot) { return &slot.model == &model; });
}

ServedModel* ModelPool::find(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  Slot* slot = find_slot(name);
  return slot == nullptr ? nullptr : &slot->model;
}

std::vector<std::reference_wrapper<const ServedModel>> ModelPool::all() const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::reference_wrapper<const ServedModel>> list;
  for (const Slot& slot : slots_) {
    if (!slot.removed) list.emplace_back(slot.model);
  }
  return list;
}

void ModelPool::add(ServedModel model) {
  model.on_demand = true;
  const std::scoped_lock lock(mutex_);
  if (find_slot(model.name) == nullptr) slots_.push_back({std::move(model), {.keep_alive = options_.keep_alive}});
}

/// The name is free from now on. Returns the engine if nobody uses it; otherwise the last release() destroys it.
std::unique_ptr<Engine> ModelPool::forget(Slot& slot) {
  slot.removed = true;
  if (slot.state.users > 0 || slot.state.loading) return nullptr;
  return std::move(slot.model.engine);
}

void ModelPool::replace(ServedModel model) {
  std::unique_ptr<Engine> engine;  // destroyed without the lock: that takes time
  const std::scoped_lock lock(mutex_);
  const auto old =
      std::ranges::find_if(slots_, [&](const Slot& slot) { return !slot.removed && slot.model.name == model.name; });
  State state{.keep_alive = old == slots_.end() ? options_.keep_alive : old->state.keep_alive};
  slots_.insert(old, Slot{std::move(model), state});
  if (old != slots_.end()) engine = forget(*old);
}

void ModelPool::retire(const ServedModel& model) {
  std::unique_ptr<Engine> engine;
  const std::scoped_lock lock(mutex_);
  engine = forget(slot_of(model));
}

bool ModelPool::remove(ServedModel& model) {
  constexpr std::chrono::milliseconds kPatience(200);  // for a request whose answer is sent but which is not over yet
  std::unique_ptr<Engine> engine;                      // destroyed without the lock: that takes time
  std::unique_lock lock(mutex_);
  Slot& slot = slot_of(model);
  const auto unused = [&] { return slot.state.users == 0 && !slot.state.loading; };
  if (!changed_.wait_for(lock, kPatience, unused)) return false;
  slot.removed = true;
  engine = std::move(model.engine);
  lock.unlock();
  return true;
}

bool ModelPool::loaded(const ServedModel& model) const {
  const std::scoped_lock lock(mutex_);
  return model.engine != nullptr;
}

std::optional<std::chrono::system_clock::time_point> ModelPool::expires(const ServedModel& model) const {
  const std::scoped_lock lock(mutex_);
  const State& state = slot_of(model).state;
  if (!model.on_demand || !state.keep_alive) return std::nullopt;
  const auto from = state.users > 0 ? Clock::now() : state.last_used;
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(from + *state.keep_alive - Clock::now());
}

bool ModelPool::idle(const Slot& slot) {
  return slot.model.on_demand && slot.model.engine != nullptr && slot.state.users == 0;
}

/// The engine of the idle model that was used least recently, or null. Destroying it takes time: not under the lock.
std::unique_ptr<Engine> ModelPool::take_idle() {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_) {
    if (idle(slot) && (oldest == nullptr || slot.state.last_used < oldest->state.last_used)) oldest = &slot;
  }
  return oldest == nullptr ? nullptr : std::move(oldest->model.engine);
}

void ModelPool::make_room(const ServedModel& model, std::unique_lock<std::mutex>& lock) {
  const int64_t needed = plan_memory(model.spec, model.options).total_bytes();
  while (options_.available_bytes() < needed) {
    lock.lock();
    std::unique_ptr<Engine> engine = take_idle();
    lock.unlock();
    if (engine == nullptr) {
      fail(ErrorCode::kOutOfMemory, "{}: there is no room for it in memory while the other models are used",
           model.name);
    }
  }
}

bool ModelPool::acquire(ServedModel& model, const std::atomic<bool>* cancel) {
  constexpr std::chrono::milliseconds kStep(50);  // how soon a cancellation is seen
  std::unique_lock lock(mutex_);
  Slot& slot = slot_of(model);
  State& state = slot.state;
  while (state.loading) {
    changed_.wait_for(lock, kStep);
    if (cancel != nullptr && cancel->load()) fail(ErrorCode::kCancelled, "cancelled");
  }
  if (slot.removed) return false;
  if (model.engine != nullptr) {
    ++state.users;
    return true;
  }
  state.loading = true;
  lock.unlock();
  std::unique_ptr<Engine> engine;
  std::exception_ptr problem;
  try {
    const std::scoped_lock one_at_a_time(loading_);
    make_room(model, lock);
    engine = Engine::load(model.spec, model.options);
    if (engine->model().tokenizer() == nullptr) fail(ErrorCode::kUnsupported, "{}: has no tokenizer", model.name);
  } catch (...) {
    problem = std::current_exception();
    if (lock.owns_lock()) lock.unlock();
  }
  lock.lock();
  state.loading = false;
  model.engine = std::move(engine);
  if (!problem) ++state.users;
  lock.unlock();
  changed_.notify_all();
  if (problem) std::rethrow_exception(problem);
  return true;
}

void ModelPool::release(ServedModel& model) {
  std::unique_ptr<Engine> engine;  // destroyed without the lock: that takes time
  {
    const std::scoped_lock lock(mutex_);
    Slot& slot = slot_of(model);
    --slot.state.users;
    slot.state.last_used = Clock::now();
    if (slot.removed) engine = forget(slot);
    ++changes_;
  }
  changed_.notify_all();
}

bool ModelPool::with_engine(const ServedModel& model, const std::function<void(const Engine&)>& work) {
  const Engine* engine = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    engine = model.engine.get();
    if (engine == nullptr) return false;
    ++slot_of(model).state.users;  // it stays
  }
  struct Release {
    ModelPool& pool;
    const ServedModel& model;
    ~Release() {
      {
        const std::scoped_lock lock(pool.mutex_);
        --pool.slot_of(model).state.users;
        ++pool.changes_;
      }
      pool.changed_.notify_all();
    }
  } release{*this, model};
  work(*engine);
  return true;
}

void ModelPool::set_keep_alive(const ServedModel& model, std::optional<std::chrono::milliseconds> time) {
  {
    const std::scoped_lock lock(mutex_);
    slot_of(model).state.keep_alive = time;
    ++changes_;
  }
  changed_.notify_all();
}

void ModelPool::unload_idle_ones(const std::stop_token& stop) {
  constexpr std::chrono::hours kNever(24);
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const auto now = Clock::now();
    auto next = now + kNever;
    std::vector<std::unique_ptr<Engine>> going;
    for (Slot& slot : slots_) {
      if (!idle(slot) || !slot.state.keep_alive) continue;
      const auto until = slot.state.last_used + *slot.state.keep_alive;
      if (until <= now) going.push_back(std::move(slot.model.engine));
      next = std::min(next, std::max(until, now));
    }
    if (!going.empty()) {
      lock.unlock();
      going.clear();
      lock.lock();
      continue;
    }
    changed_.wait_until(lock, stop, next, [&, seen = changes_] { return changes_ != seen; });
  }
}

ServedModels::~ServedModels() {
  for (const Held& held : held_)
    pool_.release(*held.model);
}

const ServedModel& ServedModels::known(const std::string& name) const {
  return named(name);
}

ServedModel& ServedModels::named(const std::string& name) const {
  if (ServedModel* model = pool_.find(name)) return *model;
  std::string list;
  for (const ServedModel& model : all())
    list += (list.empty() ? "" : ", ") + model.name;
  throw ApiError(404, fmt::format("there is no model \"{}\" here; known: {}", name.substr(0, 200), list), "model",
                 "model_not_found");
}

const ServedModel& ServedModels::find(const std::string& name) const {
  const auto held = std::ranges::find(held_, name, &Held::name);
  if (held != held_.end()) return *held->model;
  Held found{name, nullptr};
  held_.reserve(held_.size() + 1);  // what was acquired must be written down
  do {                              // again where another one has taken its place
    found.model = &named(name);
  } while (!pool_.acquire(*found.model, cancel_));
  held_.push_back(std::move(found));
  return *held_.back().model;
}

PreparedPrompt ServedModels::prepare(const ServedModel& model, const ChatRequest& request) const {
  return Processor(model.model().config(), *model.model().tokenizer()).prepare(request);
}

}  // namespace minicpm::server
