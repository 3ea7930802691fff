#include "io/safetensors.h"

#include <array>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "io/tensor_table.h"

namespace minicpm {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's reference reader
constexpr size_t kMaxIndexBytes = 100'000'000;
constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

std::optional<DType> dtype_of(std::string_view name) {
  // The format's names equal ours for every type listed here.
  constexpr std::array kKnown = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8,  DType::kU8,
                                 DType::kI16, DType::kI32, DType::kI64,  DType::kF64, DType::kBool};
  for (DType dtype : kKnown) {
    if (minicpm::name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

/// One entry of the header as written.
struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

/// Receives the header's JSON as a stream of events. A document tree would hide repeated names and cost many times the
/// header's size.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(const std::string& path) : path_(path) {}
  std::vector<Entry> take_entries() { return std::move(entries_); }

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a bool"); }
  bool number_integer(int64_t) override { return scalar("a negative number"); }
  bool number_float(double, const std::string&) override { return scalar("a number with a fraction"); }
  bool binary(binary_t&) override { return scalar("binary data"); }
  bool number_unsigned(uint64_t value) override {
    if (ignored_depth_ > 0) return true;
    if (list_ == nullptr) return scalar("a number");
    // A shape or an offset pair needs few numbers; more would only fill memory.
    if (list_->size() == kMaxListLength) bad("has a list of more than {} numbers", kMaxListLength);
    list_->push_back(value);
    return true;
  }
  bool string(std::string& text) override {
    if (ignored_depth_ > 0 || field_ == Field::kIgnored) return end_of_value();
    if (depth_ != 2 || field_ != Field::kDtype) bad("has a string where none belongs");
    entries_.back().dtype = std::move(text);
    return end_of_value();
  }

  bool start_object(size_t) override {
    if (ignored_depth_ > 0 || field_ == Field::kIgnored) {
      ++ignored_depth_;
    } else if (depth_ == 0 || (depth_ == 1 && field_ == Field::kTensor)) {
      ++depth_;
      field_ = Field::kNone;
    } else {
      bad("has an object where none belongs");
    }
    return true;
  }
  bool end_object() override {
    if (ignored_depth_ > 0) {
      --ignored_depth_;
      return end_of_value();
    }
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (ignored_depth_ > 0 || field_ == Field::kIgnored) {
      ++ignored_depth_;
      return true;
    }
    if (depth_ != 2 || list_ != nullptr || (field_ != Field::kShape && field_ != Field::kOffsets)) {
      bad("has a list where none belongs");
    }
    auto& target = field_ == Field::kShape ? entries_.back().shape : entries_.back().offsets;
    list_ = &target.emplace();
    return true;
  }
  bool end_array() override {
    if (ignored_depth_ > 0) {
      --ignored_depth_;
      return end_of_value();
    }
    list_ = nullptr;
    return end_of_value();
  }

  bool key(std::string& text) override {
    if (ignored_depth_ > 0) return true;
    if (depth_ == 1) {
      if (!names_.insert(text).second) {
        fail(ErrorCode::kBadFile, "{}: the safetensors header names \"{}\" twice", path_, text);
      }
      field_ = text == "__metadata__" ? Field::kIgnored : Field::kTensor;
      if (field_ == Field::kTensor) entries_.push_back({std::move(text), {}, {}, {}});
      return true;
    }
    Entry& entry = entries_.back();
    field_ = text == "dtype"          ? Field::kDtype
             : text == "shape"        ? Field::kShape
             : text == "data_offsets" ? Field::kOffsets
                                      : Field::kIgnored;
    if ((field_ == Field::kDtype && entry.dtype) || (field_ == Field::kShape && entry.shape) ||
        (field_ == Field::kOffsets && entry.offsets)) {
      bad("has \"{}\" twice in one tensor", text);
    }
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail(ErrorCode::kBadFile, "{}: the safetensors header is not valid JSON at byte {}", path_, position);
  }

 private:
  static constexpr size_t kMaxListLength = 16;
  enum class Field { kNone, kTensor, kDtype, kShape, kOffsets, kIgnored };

  template <typename... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) {
    const std::string what = fmt::format(format, std::forward<Args>(args)...);
    if (entries_.empty()) fail(ErrorCode::kBadFile, "{}: the safetensors header {}", path_, what);
    fail(ErrorCode::kBadFile, "{}: the safetensors header {} (at tensor \"{}\")", path_, what, entries_.back().name);
  }
  bool scalar(std::string_view what) {
    if (ignored_depth_ == 0 && field_ != Field::kIgnored) bad("has {} where none belongs", what);
    return end_of_value();
  }
  bool end_of_value() {
    if (ignored_depth_ == 0) field_ = Field::kNone;
    return true;
  }

  const std::string& path_;
  std::vector<Entry> entries_;
  std::unordered_set<std::string> names_;
  int depth_ = 0;          // 1 inside the header, 2 inside a tensor
  int ignored_depth_ = 0;  // inside a value that is skipped
  Field field_ = Field::kNone;
  std::vector<uint64_t>* list_ = nullptr;
};

/// The entry as a view into `data`, all sizes checked.
StoredTensor place(const Entry& entry, std::span<const std::byte> data, const std::string& path) {
  if (!entry.dtype || !entry.shape || !entry.offsets || entry.offsets->size() != 2) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" needs dtype, shape and two data_offsets", path, entry.name);
  }
  const auto dtype = dtype_of(*entry.dtype);
  if (!dtype) {
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" has element type {}, which is not supported", path, entry.name,
         *entry.dtype);
  }
  if (entry.shape->size() > kMaxRank) {
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" has {} dimensions; up to {} are supported", path, entry.name,
         entry.shape->size(), kMaxRank);
  }
  for (uint64_t dim : *entry.shape) {
    if (dim > static_cast<uint64_t>(INT64_MAX)) {
      fail(ErrorCode::kBadFile, "{}: tensor \"{}\" has a dimension of {}", path, entry.name, dim);
    }
  }
  const uint64_t begin = (*entry.offsets)[0], end = (*entry.offsets)[1];
  if (begin > end || end > data.size()) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" lies at bytes {} to {}, outside the {} bytes of data", path,
         entry.name, begin, end, data.size());
  }
  const auto elements = checked_product(*entry.shape);
  const auto size = elements
                        ? checked_mul(static_cast<uint64_t>(*elements), static_cast<uint64_t>(info(*dtype).block_bytes))
                        : std::nullopt;
  if (!size || *size != end - begin) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" has {} bytes of data, which is not what its shape and {} need", path,
         entry.name, end - begin, *entry.dtype);
  }
  const std::byte* address = data.data() + begin;
  StoredTensor tensor{entry.name, {}, path};
  tensor.view.data = address;
  tensor.view.dtype = *dtype;
  tensor.view.rank = std::max(1, static_cast<int>(entry.shape->size()));
  for (size_t i = 0; i < entry.shape->size(); ++i)
    tensor.view.dims[i] = static_cast<int64_t>((*entry.shape)[i]);
  return tensor;
}

bool is_aligned(const Weight& view) {
  return reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(element_alignment(view.dtype)) == 0;
}

/// One or more mapped files as one source. The format does not align tensors, so one behind a tensor of small elements
/// can lie at an address that its own elements cannot be read from; such a tensor is copied.
class MappedSafetensors : public WeightSource {
 public:
  MappedSafetensors(std::string path, std::vector<std::shared_ptr<const FileMap>> maps,
                    std::vector<StoredTensor> tensors)
      : path_(std::move(path)), maps_(std::move(maps)), table_(aligned(std::move(tensors))) {}

  const StoredTensor* find(std::string_view name) const override { return table_.find(name); }
  const std::vector<StoredTensor>& tensors() const override { return table_.tensors(); }
  const std::string& path() const override { return path_; }

 private:
  std::vector<StoredTensor> aligned(std::vector<StoredTensor> tensors) {
    for (StoredTensor& tensor : tensors) {
      if (is_aligned(tensor.view)) continue;
      const auto bytes = static_cast<size_t>(stored_bytes(tensor.view));
      copies_.push_back(std::make_unique<std::byte[]>(bytes));
      std::memcpy(copies_.back().get(), tensor.view.data, bytes);
      tensor.view.data = copies_.back().get();
    }
    return tensors;
  }

  std::string path_;
  std::vector<std::shared_ptr<const FileMap>> maps_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;  // of misaligned tensors
  TensorTable table_;
};

/// Tensor name -> shard file name, sorted by tensor name.
std::map<std::string, std::string> read_index(const std::filesystem::path& file) {
  const std::string text = read_file(file, kMaxIndexBytes);
  // nlohmann::json keeps objects sorted, so that many keys do not take quadratic time as in an ordered document.
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) fail(ErrorCode::kBadFile, "{}: not valid JSON", file.string());
  const auto weight_map = json.is_object() ? json.find("weight_map") : json.end();
  if (weight_map == json.end() || !weight_map->is_object()) {
    fail(ErrorCode::kBadFile, "{}: \"weight_map\" must be an object", file.string());
  }
  std::map<std::string, std::string> out;
  for (const auto& [name, shard] : weight_map->items()) {
    if (!shard.is_string()) {
      fail(ErrorCode::kBadFile, "{}: the shard of tensor \"{}\" must be a string, found {}", file.string(), name,
           shard.type_name());
    }
    std::string shard_name = shard.get<std::string>();
    const bool plain = shard_name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    if (!plain || !shard_name.ends_with(".safetensors")) {
      fail(ErrorCode::kBadFile, "{}: tensor \"{}\" lies in \"{}\", which is not the name of a shard in this folder",
           file.string(), name, shard_name);
    }
    out.emplace_hint(out.end(), name, std::move(shard_name));
  }
  return out;
}

bool is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

}  // namespace

std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kLengthBytes) {
    fail(ErrorCode::kBadFile, "{}: is not a safetensors file ({} bytes, shorter than the header length)", path,
         bytes.size());
  }
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    fail(ErrorCode::kBadFile, "{}: claims a header of {} bytes, the file has {} bytes and a header {} at most", path,
         length, bytes.size(), kMaxHeaderBytes);
  }
  const auto* header = reinterpret_cast<const char*>(bytes.data() + kLengthBytes);
  if (length == 0 || header[0] != '{') {
    fail(ErrorCode::kBadFile, "{}: is not a safetensors file (the header does not start with a brace)", path);
  }
  HeaderHandler handler(path);
  nlohmann::json::sax_parse(header, header + length, &handler);

  std::vector<StoredTensor> tensors;
  for (const Entry& entry : handler.take_entries())
    tensors.push_back(place(entry, bytes.subspan(kLengthBytes + length), path));
  check_no_overlap(tensors);
  return tensors;
}

std::unique_ptr<WeightSource> open_safetensors(const std::filesystem::path& file, FileAccess access) {
  auto map = FileMap::open(file, access);
  std::vector<StoredTensor> tensors = parse_safetensors(map->bytes(), map->path());
  return std::make_unique<MappedSafetensors>(file.string(), std::vector{std::move(map)}, std::move(tensors));
}

std::unique_ptr<WeightSource> open_safetensors_folder(const std::filesystem::path& folder, FileAccess access) {
  if (is_file(folder / kSingleFile)) return open_safetensors(folder / kSingleFile, access);
  const std::filesystem::path index_file = folder / kIndexFile;
  if (!is_file(index_file)) {
    fail(ErrorCode::kNotFound, "{}: holds no weights; looked for {} and {}", folder.string(), kSingleFile, kIndexFile);
  }
  const std::map<std::string, std::string> index = read_index(index_file);
  std::vector<std::shared_ptr<const FileMap>> maps;
  std::vector<StoredTensor> tensors;
  std::map<std::string_view, std::string> shard_paths;
  for (const auto& [name, shard] : index)
    shard_paths.emplace(shard, (folder / shard).string());
  for (const auto& [shard, path] : shard_paths) {
    if (!is_file(path)) {
      fail(ErrorCode::kNotFound, "{}: names the shard {}, which is missing in the folder", index_file.string(), shard);
    }
    maps.push_back(FileMap::open(path, access));
    std::vector<StoredTensor> part = parse_safetensors(maps.back()->bytes(), path);
    std::move(part.begin(), part.end(), std::back_inserter(tensors));
  }
  auto source = std::make_unique<MappedSafetensors>(folder.string(), std::move(maps), std::move(tensors));
  for (const auto& [name, shard] : index) {
    const StoredTensor* tensor = source->find(name);
    if (tensor == nullptr || tensor->file != shard_paths.at(shard)) {
      fail(ErrorCode::kBadFile, "{}: places tensor \"{}\" in {}, {}", index_file.string(), name, shard,
           tensor == nullptr ? "where it is missing" : "but it lies in " + tensor->file);
    }
  }
  return source;
}

}  // namespace minicpm
