// Reader and writer of GGUF files, versions 2 and 3, also split into -00001-of-0000N parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file_map.h"
#include "io/tensor_to_write.h"
#include "io/weight_source.h"

namespace minicpm {

/// A metadata value. Integers keep their sign in int64 (u64 values above INT64_MAX are kept as uint64). Arrays are
/// homogeneous.
struct GgufValue {
  std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>>
      value;
  std::string type_name;  // "u32", "array of string", ... as stored, for inspect and messages
};

class GgufFile : public WeightSource {
 public:
  /// Opens one file, or all parts of a split one when `file` is its first part. Throws Error not_found, io, bad_file,
  /// unsupported, and as FileMap::open for the access.
  static std::unique_ptr<GgufFile> open(const std::filesystem::path& file, FileAccess access = FileAccess::kMap);
  /// The bytes of one unsplit file, which must outlive the result. `path` stands in messages only.
  static std::unique_ptr<GgufFile> view(std::span<const std::byte> bytes, const std::string& path);

  /// Metadata in file order.
  virtual const std::vector<std::pair<std::string, GgufValue>>& metadata() const = 0;
  virtual const GgufValue* find_value(std::string_view key) const = 0;
  virtual int version() const = 0;

  /// Typed access; a wrong type throws Error bad_file naming file, key, expected and found.
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;  // float or integer
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string> find_string(std::string_view key) const;
  const std::vector<std::string>* find_strings(std::string_view key) const;
  const std::vector<int64_t>* find_ints(std::string_view key) const;
  const std::vector<double>* find_numbers(std::string_view key) const;
};

/// Collects metadata and tensors and writes a version-3 file, atomically.
class GgufWriter {
 public:
  /// Sets or replaces a key. type_name decides the stored type ("u32", "f32", "array of i32", ...); a value that does
  /// not fit it throws Error invalid_request. "general.alignment" also sets the alignment of the file.
  void set(std::string key, GgufValue value);
  void set_u32(std::string key, uint32_t value);
  void set_i32(std::string key, int32_t value);
  void set_f32(std::string key, float value);
  void set_bool(std::string key, bool value);
  void set_string(std::string key, std::string value);
  void set_strings(std::string key, std::vector<std::string> values);
  void set_i32s(std::string key, std::vector<int64_t> values);
  void set_f32s(std::string key, std::vector<double> values);
  /// `view` must stay valid until write(); dims in PyTorch order.
  void add_tensor(std::string name, Weight view);
  /// For tensors that are made while they are written.
  void add_tensor(TensorToWrite tensor);
  /// Throws Error io, and invalid_request for what GGUF cannot hold (repeated or empty names, more than four or zero
  /// dims, partial blocks, formats without a type number).
  void write(const std::filesystem::path& file) const;

 private:
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<TensorToWrite> tensors_;
};

}  // namespace minicpm
