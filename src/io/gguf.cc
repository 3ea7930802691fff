#include "io/gguf.h"

#include <fmt/format.h>

#include <unordered_map>

#include "base/error.h"
#include "io/gguf_parse.h"
#include "io/tensor_table.h"

namespace minicpm {
namespace {

constexpr std::string_view kSplitCountKey = "split.count";
constexpr std::string_view kSplitNumberKey = "split.no";
constexpr std::string_view kSplitTensorsKey = "split.tensors.count";
constexpr int64_t kMaxParts = 65535;  // stored as u16

class MappedGguf : public GgufFile {
 public:
  MappedGguf(std::string path, std::vector<std::shared_ptr<const FileMap>> maps, gguf::ParsedFile first,
             std::vector<StoredTensor> tensors)
      : path_(std::move(path)),
        maps_(std::move(maps)),
        version_(first.version),
        metadata_(std::move(first.metadata)),
        table_(std::move(tensors)) {
    for (size_t i = 0; i < metadata_.size(); ++i)
      by_key_.emplace(metadata_[i].first, i);
  }

  const StoredTensor* find(std::string_view name) const override { return table_.find(name); }
  const std::vector<StoredTensor>& tensors() const override { return table_.tensors(); }
  const std::string& path() const override { return path_; }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const override { return metadata_; }
  int version() const override { return version_; }
  const GgufValue* find_value(std::string_view key) const override {
    const auto it = by_key_.find(key);
    return it == by_key_.end() ? nullptr : &metadata_[it->second].second;
  }

 private:
  std::string path_;
  std::vector<std::shared_ptr<const FileMap>> maps_;
  int version_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::unordered_map<std::string_view, size_t> by_key_;
  TensorTable table_;
};

std::optional<int64_t> split_value(const gguf::ParsedFile& file, std::string_view key, const std::string& path) {
  const GgufValue* value = gguf::find_value(file, key);
  if (value == nullptr) return std::nullopt;
  const auto* number = std::get_if<int64_t>(&value->value);
  if (number == nullptr) fail(ErrorCode::kBadFile, "{}: {} must be u16, found {}", path, key, value->type_name);
  return *number;
}

/// "-00002-of-00003.gguf": how the name of one part ends; `number` counts from 0.
std::string part_suffix(int64_t number, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

/// The name that all parts share, given the path of the first one.
std::string part_prefix(const std::string& first, int64_t number, int64_t count) {
  if (number != 0) {
    fail(ErrorCode::kBadFile, "{}: is part {} of {}; open the first part, whose name ends in \"{}\"", first, number + 1,
         count, part_suffix(0, count));
  }
  const std::string suffix = part_suffix(0, count);
  if (!first.ends_with(suffix)) {
    fail(ErrorCode::kBadFile, "{}: is the first of {} parts, so its name must end in \"{}\"", first, count, suffix);
  }
  return first.substr(0, first.size() - suffix.size());
}

void check_part(const gguf::ParsedFile& part, const std::string& path, int64_t number, int64_t count) {
  const int64_t found_number = split_value(part, kSplitNumberKey, path).value_or(-1);
  const int64_t found_count = split_value(part, kSplitCountKey, path).value_or(-1);
  if (found_number != number || found_count != count) {
    fail(ErrorCode::kBadFile, "{}: expected part {} of {} ({} {}, {} {}), found {} and {}", path, number + 1, count,
         kSplitNumberKey, number, kSplitCountKey, count, found_number, found_count);
  }
}

[[noreturn]] void fail_type(const GgufFile& file, std::string_view key, std::string_view expected,
                            const GgufValue& found) {
  fail(ErrorCode::kBadFile, "{}: metadata \"{}\" must be {}, found {}", file.path(), key, expected, found.type_name);
}

template <typename T>
const T* find_alternative(const GgufFile& file, std::string_view key, std::string_view expected) {
  const GgufValue* value = file.find_value(key);
  if (value == nullptr) return nullptr;
  const T* typed = std::get_if<T>(&value->value);
  if (typed == nullptr) fail_type(file, key, expected, *value);
  return typed;
}

template <typename T>
std::optional<T> to_optional(const T* value) {
  return value == nullptr ? std::nullopt : std::optional<T>(*value);
}

}  // namespace

std::unique_ptr<GgufFile> GgufFile::open(const std::filesystem::path& file, FileAccess access) {
  const std::string path = file.string();
  std::vector<std::shared_ptr<const FileMap>> maps = {FileMap::open(file, access)};
  gguf::ParsedFile first = gguf::parse(maps[0]->bytes(), path);
  std::vector<StoredTensor> tensors = std::move(first.tensors);

  const int64_t count = split_value(first, kSplitCountKey, path).value_or(0);
  if (count < 0 || count > kMaxParts) {
    fail(ErrorCode::kBadFile, "{}: {} is {}; 0 to {} is possible", path, kSplitCountKey, count, kMaxParts);
  }
  if (count > 1) {
    const std::string prefix = part_prefix(path, split_value(first, kSplitNumberKey, path).value_or(-1), count);
    for (int64_t number = 1; number < count; ++number) {
      const std::string part_path = prefix + part_suffix(number, count);
      maps.push_back(FileMap::open(part_path, access));
      gguf::ParsedFile part = gguf::parse(maps.back()->bytes(), part_path);
      check_part(part, part_path, number, count);
      std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(tensors));
    }
    const auto total = split_value(first, kSplitTensorsKey, path);
    if (total && *total != static_cast<int64_t>(tensors.size())) {
      fail(ErrorCode::kBadFile, "{}: {} is {}, but the {} parts hold {} tensors", path, kSplitTensorsKey, *total, count,
           tensors.size());
    }
  }
  return std::make_unique<MappedGguf>(path, std::move(maps), std::move(first), std::move(tensors));
}

std::unique_ptr<GgufFile> GgufFile::view(std::span<const std::byte> bytes, const std::string& path) {
  gguf::ParsedFile file = gguf::parse(bytes, path);
  std::vector<StoredTensor> tensors = std::move(file.tensors);
  return std::make_unique<MappedGguf>(path, std::vector<std::shared_ptr<const FileMap>>(), std::move(file),
                                      std::move(tensors));
}

std::optional<int64_t> GgufFile::find_int(std::string_view key) const {
  return to_optional(find_alternative<int64_t>(*this, key, "a whole number inside the range of int64"));
}

std::optional<double> GgufFile::find_number(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* real = std::get_if<double>(&value->value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(&value->value)) return static_cast<double>(*whole);
  if (const auto* whole = std::get_if<uint64_t>(&value->value)) return static_cast<double>(*whole);
  fail_type(*this, key, "a number", *value);
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  return to_optional(find_alternative<bool>(*this, key, "a bool"));
}

std::optional<std::string> GgufFile::find_string(std::string_view key) const {
  return to_optional(find_alternative<std::string>(*this, key, "a string"));
}

const std::vector<std::string>* GgufFile::find_strings(std::string_view key) const {
  return find_alternative<std::vector<std::string>>(*this, key, "an array of strings");
}

const std::vector<int64_t>* GgufFile::find_ints(std::string_view key) const {
  return find_alternative<std::vector<int64_t>>(*this, key, "an array of whole numbers");
}

const std::vector<double>* GgufFile::find_numbers(std::string_view key) const {
  return find_alternative<std::vector<double>>(*this, key, "an array of floats");
}

}  // namespace minicpm
