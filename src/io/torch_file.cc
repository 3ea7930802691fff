#include "io/torch_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "base/file_map.h"
#include "io/pickle.h"
#include "io/tensor_table.h"
#include "io/zip_file.h"

namespace minicpm {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kTensor = "torch._utils _rebuild_tensor_v2", kParameter = "torch._utils _rebuild_parameter",
                           kTagged = "torch.jit._pickle restore_type_tag", kDictionary = "collections OrderedDict";
constexpr std::pair<std::string_view, DType> kStorages[] = {
    {"torch FloatStorage", DType::kF32},  {"torch HalfStorage", DType::kF16}, {"torch BFloat16Storage", DType::kBF16},
    {"torch DoubleStorage", DType::kF64}, {"torch LongStorage", DType::kI64}, {"torch IntStorage", DType::kI32},
    {"torch ShortStorage", DType::kI16},  {"torch CharStorage", DType::kI8},  {"torch ByteStorage", DType::kU8},
    {"torch BoolStorage", DType::kBool}};

constexpr size_t kMaxPickleBytes = 4u << 20;  // 20,000 tensors and more
constexpr int kMaxDepth = 8;                  // of dictionaries in dictionaries
constexpr size_t kMaxValues = 1u << 20, kMaxTensors = 1u << 16, kMaxNameBytes = 512;

bool is_allowed(std::string_view global) {
  if (global == kTensor || global == kParameter || global == kTagged || global == kDictionary) return true;
  return std::ranges::any_of(kStorages, [&](const auto& row) { return row.first == global; });
}

class TorchReader {
 public:
  TorchReader(std::span<const std::byte> archive, const std::string& path) : path_(path) {
    check_magic(archive);
    for (const ZipEntry& entry : read_zip(archive, path))
      entries_[entry.name] = entry.bytes;
  }

  std::vector<TorchTensor> run() {
    const auto pickle = find_pickle();
    if (pickle.size() > kMaxPickleBytes) {
      fail(ErrorCode::kUnsupported, "{}: a pickle of {} bytes, at most {} are read", path_, pickle.size(),
           kMaxPickleBytes);
    }
    if (const auto order = entries_.find(folder_ + "byteorder"); order != entries_.end()) {
      const std::string_view text(reinterpret_cast<const char*>(order->second.data()), order->second.size());
      if (text != "little") fail(ErrorCode::kUnsupported, "{}: its byte order is \"{}\"", path_, text.substr(0, 16));
    }
    data_ = read_pickle(pickle, path_, is_allowed);
    const PickleValue& root = unwrapped(data_.root);
    if (root.kind != Kind::kDict) fail(ErrorCode::kBadFile, "{}: expected a dictionary of tensors", path_);
    collect(root, "", 1);
    return std::move(tensors_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void bad(const std::string& name, fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" {}", path_, name, fmt::format(format, std::forward<Args>(args)...));
  }

  void check_magic(std::span<const std::byte> archive) const {
    // A pickled number that PyTorch wrote first before version 1.6.
    constexpr std::string_view kOldMagic("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19", 14);
    const std::string_view text(reinterpret_cast<const char*>(archive.data()), archive.size());
    if (text.starts_with(kOldMagic)) {
      fail(ErrorCode::kUnsupported,
           "{}: was written in the format of PyTorch before 1.6; load it there and save it with torch.save again",
           path_);
    }
  }

  /// All entries lie in one folder, whatever its name.
  std::span<const std::byte> find_pickle() {
    constexpr std::string_view kName = "data.pkl";
    for (const auto& [name, bytes] : entries_) {
      const size_t slash = name.find('/');
      if (slash == std::string::npos || name.substr(slash + 1) != kName) continue;
      folder_ = name.substr(0, slash + 1);
      return bytes;
    }
    fail(ErrorCode::kBadFile, "{}: the zip archive holds no {}: torch.save did not write it", path_, kName);
  }

  const PickleValue& value(uint32_t index) const { return data_.at(index); }
  bool calls(const PickleValue& v, std::string_view function) const {
    return v.kind == Kind::kCall && value(v.items[0]).text == function;
  }
  const std::vector<uint32_t>& arguments(const PickleValue& call) const { return value(call.items[1]).items; }

  /// What stands behind marks of a parameter or of a type.
  const PickleValue& unwrapped(uint32_t index) const {
    const PickleValue* v = &value(index);
    for (int depth = 0; depth < kMaxDepth && (calls(*v, kParameter) || calls(*v, kTagged)); ++depth) {
      if (arguments(*v).empty()) break;
      v = &value(arguments(*v)[0]);
    }
    return *v;
  }

  void collect(const PickleValue& dictionary, const std::string& prefix, int depth) {
    if (depth > kMaxDepth) fail(ErrorCode::kUnsupported, "{}: dictionaries {} deep", path_, depth);
    for (size_t i = 0; i + 1 < dictionary.items.size(); i += 2) {
      if (++seen_ > kMaxValues) fail(ErrorCode::kUnsupported, "{}: more than {} values", path_, kMaxValues);
      const PickleValue& key = value(dictionary.items[i]);
      const PickleValue& entry = unwrapped(dictionary.items[i + 1]);
      if (key.kind != Kind::kText) continue;
      if (tensors_.size() == kMaxTensors || key.text.size() > kMaxNameBytes) {
        fail(ErrorCode::kUnsupported, "{}: more than {} tensors, or a name of more than {} bytes", path_, kMaxTensors,
             kMaxNameBytes);
      }
      if (entry.kind == Kind::kDict) collect(entry, prefix + key.text + ".", depth + 1);
      if (calls(entry, kTensor)) tensors_.push_back(tensor(prefix + key.text, arguments(entry)));
    }
  }

  std::vector<int64_t> sizes(const std::string& name, uint32_t index) const {
    std::vector<int64_t> result;
    for (const uint32_t item : value(index).items) {
      const PickleValue& v = value(item);
      if (v.kind != Kind::kInt || v.number < 0) bad(name, "has a size or stride that is no positive number");
      result.push_back(v.number);
    }
    return result;
  }

  struct Storage {
    DType dtype;
    std::span<const std::byte> bytes;
  };
  /// ("storage", type, key, device, elements).
  Storage storage(const std::string& name, const PickleValue& persistent) const {
    const bool known = persistent.kind == Kind::kPersistent && value(persistent.items[0]).kind == Kind::kTuple;
    const std::vector<uint32_t> none, &id = known ? value(persistent.items[0]).items : none;
    if (id.size() != 5 || value(id[0]).text != "storage" || value(id[2]).kind != Kind::kText ||
        value(id[4]).kind != Kind::kInt) {
      bad(name, "has no storage");
    }
    const std::string& type = value(id[1]).text;
    const auto* row = std::ranges::find(kStorages, type, &std::pair<std::string_view, DType>::first);
    if (row == std::end(kStorages)) bad(name, "has a storage of the type \"{}\"", type);
    const auto found = entries_.find(folder_ + "data/" + value(id[2]).text);
    if (found == entries_.end()) bad(name, "lies in storage {}, which the archive lacks", value(id[2]).text);
    const int64_t elements = value(id[4]).number;
    const auto size = elements < 0 ? std::nullopt
                                   : checked_mul(static_cast<uint64_t>(elements),
                                                 static_cast<uint64_t>(info(row->second).block_bytes));
    if (!size || *size > found->second.size()) {
      bad(name, "needs {} elements, its storage has {} bytes", elements, found->second.size());
    }
    return {row->second, found->second.first(*size)};
  }

  /// (storage, offset, size, strides, needs a gradient, hooks).
  TorchTensor tensor(const std::string& name, const std::vector<uint32_t>& arguments) const {
    if (arguments.size() < 4 || value(arguments[1]).kind != Kind::kInt) bad(name, "is not described as a tensor");
    const Storage stored = storage(name, value(arguments[0]));
    TorchTensor result{name, stored.dtype, sizes(name, arguments[2]), sizes(name, arguments[3]), {}};
    if (result.shape.size() != result.strides.size() || result.shape.size() > kMaxRank) {
      bad(name, "has {} sizes and {} strides, up to {} are supported", result.shape.size(), result.strides.size(),
          kMaxRank);
    }
    const int64_t offset = value(arguments[1]).number;
    const auto element = static_cast<uint64_t>(info(stored.dtype).block_bytes);
    if (offset < 0) bad(name, "begins at element {}", offset);
    uint64_t last = 0;  // element, from the first one
    bool empty = false;
    for (size_t i = 0; i < result.shape.size(); ++i) {
      empty = empty || result.shape[i] == 0;
      const auto way = checked_mul(static_cast<uint64_t>(std::max<int64_t>(result.shape[i], 1) - 1),
                                   static_cast<uint64_t>(result.strides[i]));
      const auto sum = way ? checked_add(last, *way) : std::nullopt;
      if (!sum) bad(name, "is too large");
      last = *sum;
    }
    const uint64_t elements = stored.bytes.size() / element;
    const uint64_t count = empty ? 0 : last + 1;  // no overflow: see the test
    if (last >= elements && !empty) bad(name, "ends at element {}, its storage has {}", last, elements);
    if (!range_inside(static_cast<uint64_t>(offset), count, elements)) {
      bad(name, "has {} elements from element {} on, its storage {}", count, offset, elements);
    }
    // Views that repeat elements could be much larger than the file.
    std::vector<uint64_t> dims(result.shape.begin(), result.shape.end());
    const auto total = checked_product(dims);
    if (!total || static_cast<uint64_t>(*total) > elements) bad(name, "has more elements than its storage");
    result.bytes = stored.bytes.subspan(static_cast<size_t>(offset) * element, count * element);
    return result;
  }

  const std::string& path_;
  std::map<std::string, std::span<const std::byte>> entries_;
  std::string folder_;  // with its slash
  PickleData data_;
  std::vector<TorchTensor> tensors_;
  size_t seen_ = 0;
};

/// The elements in order, the last index first.
void copy_in_order(const TorchTensor& tensor, std::byte* to) {
  const auto element = static_cast<size_t>(info(tensor.dtype).block_bytes);
  std::vector<int64_t> index(tensor.shape.size());
  for (int64_t i = 0, count = tensor.elements(); i < count; ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d)
      at += index[d] * tensor.strides[d];
    std::memcpy(to + static_cast<size_t>(i) * element, tensor.bytes.data() + static_cast<size_t>(at) * element,
                element);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < tensor.shape[d]) break;
      index[d] = 0;
    }
  }
}

class TorchSource : public WeightSource {
  static constexpr size_t kMostCopies = 4;  // in sizes of the file

 public:
  explicit TorchSource(std::shared_ptr<const FileMap> map) : map_(std::move(map)), table_(stored()) {}

  const StoredTensor* find(std::string_view name) const override { return table_.find(name); }
  const std::vector<StoredTensor>& tensors() const override { return table_.tensors(); }
  const std::string& path() const override { return map_->path(); }

 private:
  std::vector<StoredTensor> stored() {
    std::vector<StoredTensor> result;
    for (const TorchTensor& tensor : parse_torch_file(map_->bytes(), map_->path())) {
      StoredTensor stored{tensor.name, {}, map_->path()};
      stored.view.dtype = tensor.dtype;
      stored.view.rank = std::max(1, static_cast<int>(tensor.shape.size()));
      for (size_t i = 0; i < tensor.shape.size(); ++i)
        stored.view.dims[i] = tensor.shape[i];
      stored.view.data = tensor.bytes.data();
      const auto alignment = static_cast<uintptr_t>(element_alignment(tensor.dtype));
      if (!tensor.is_contiguous() || reinterpret_cast<uintptr_t>(tensor.bytes.data()) % alignment != 0) {
        const auto size = static_cast<size_t>(tensor.elements()) * static_cast<size_t>(info(tensor.dtype).block_bytes);
        copied_ += size;
        if (copied_ > kMostCopies * map_->size()) {
          fail(ErrorCode::kUnsupported, "{}: its tensors share too many bytes in another order than their own", path());
        }
        copies_.push_back(std::make_unique<std::byte[]>(size));
        copy_in_order(tensor, copies_.back().get());
        stored.view.data = copies_.back().get();
      }
      result.push_back(std::move(stored));
    }
    return result;
  }

  std::shared_ptr<const FileMap> map_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;
  size_t copied_ = 0;  // bytes
  TensorTable table_;
};

}  // namespace

int64_t TorchTensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape)
    count *= size;
  return count;
}

bool TorchTensor::is_contiguous() const {
  int64_t expected = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != expected) return elements() == 0;
    expected *= shape[d];
  }
  return true;
}

std::vector<TorchTensor> parse_torch_file(std::span<const std::byte> archive, const std::string& path) {
  return TorchReader(archive, path).run();
}

std::unique_ptr<WeightSource> open_torch_file(const std::filesystem::path& file) {
  return std::make_unique<TorchSource>(FileMap::open(file));
}

}  // namespace minicpm
