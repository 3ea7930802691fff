// Writes files as torch.save does: a zip archive of stored entries around a pickle of protocol 2.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minicpm {

struct TorchEntry {
  std::string name, type;               // "FloatStorage"
  std::vector<int64_t> shape, strides;  // no strides: in order
  int64_t offset = 0;
  std::string storage;  // bytes
};

struct TorchLayout {
  bool ordered = true;      // an OrderedDict, else a dict
  bool parameters = false;  // tensors are parameters
  bool metadata = false;    // versions of modules, as state_dict() has them
  std::string inside;       // a dictionary in a dictionary under this key
  std::string byte_order = "little";
};

template <typename T>
void append_number(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Stored entries, the content of each at a multiple of 64 as torch aligns it.
inline std::string zip_file(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out, directory;
  for (const auto& [name, content] : entries) {
    const size_t local = out.size();
    const auto size = static_cast<uint32_t>(content.size());
    const auto head = [&](std::string& to, std::string_view signature, bool central) {
      to += signature;
      if (central) append_number<uint16_t>(to, 0);
      append_number<uint16_t>(to, 0);  // version
      append_number<uint16_t>(to, 0);  // flags
      append_number<uint16_t>(to, 0);  // stored
      append_number<uint32_t>(to, 0);  // time
      append_number<uint32_t>(to, 0);  // checksum
      append_number(to, size);
      append_number(to, size);
      append_number(to, static_cast<uint16_t>(name.size()));
    };
    head(out, std::string_view("PK\x03\x04", 4), false);
    const size_t begin = out.size() + 2 + name.size(), padding = (64 - (begin + 4) % 64) % 64 + 4;
    append_number(out, static_cast<uint16_t>(padding));
    out += name;
    out += "FB";
    append_number(out, static_cast<uint16_t>(padding - 4));
    out.append(padding - 4, 'Z');
    out += content;
    head(directory, std::string_view("PK\x01\x02", 4), true);
    directory.append(2 + 2 + 2 + 2 + 4, '\0');  // extra, comment, disk, attributes
    append_number(directory, static_cast<uint32_t>(local));
    directory += name;
  }
  const size_t at = out.size();
  out += directory;
  out += std::string_view("PK\x05\x06", 4);
  append_number<uint32_t>(out, 0);
  append_number(out, static_cast<uint16_t>(entries.size()));
  append_number(out, static_cast<uint16_t>(entries.size()));
  append_number(out, static_cast<uint32_t>(directory.size()));
  append_number(out, static_cast<uint32_t>(at));
  append_number<uint16_t>(out, 0);
  return out;
}

/// The opcodes that Python's pickler chooses.
class Pickler {
 public:
  std::string out = "\x80\x02";

  Pickler& op(std::string_view code) {
    out += code;
    return *this;
  }
  Pickler& text(std::string_view value) {
    out += 'X';
    append_number(out, static_cast<uint32_t>(value.size()));
    out += value;
    return remember();
  }
  Pickler& number(int64_t value) {
    if (value >= 0 && value < 256) {
      out += 'K';
      out += static_cast<char>(value);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
      out += 'J';
      append_number(out, static_cast<int32_t>(value));
    } else {
      out += "\x8a\x08";
      append_number(out, value);
    }
    return *this;
  }
  Pickler& global(std::string_view module, std::string_view name) {
    out += 'c';
    out += module;
    out += '\n';
    out += name;
    out += '\n';
    return remember();
  }
  Pickler& tuple(const std::vector<int64_t>& values) {
    if (values.empty()) return op(")");
    if (values.size() > 3) op("(");
    for (const int64_t value : values)
      number(value);
    return op(values.size() == 1 ? "\x85" : values.size() == 2 ? "\x86" : values.size() == 3 ? "\x87" : "t").remember();
  }
  Pickler& remember() {
    out += 'q';
    out += static_cast<char>(next_++ % 256);
    return *this;
  }
  Pickler& ordered_dict() { return global("collections", "OrderedDict").op(")R").remember(); }

 private:
  int next_ = 0;
};

inline std::string torch_file(std::span<const TorchEntry> entries, const TorchLayout& layout = {}) {
  Pickler pickle;
  if (!layout.inside.empty()) pickle.op("}").remember().text(layout.inside);
  if (layout.ordered) {
    pickle.ordered_dict();
  } else {
    pickle.op("}").remember();
  }
  pickle.op("(");
  std::vector<std::pair<std::string, std::string>> files;
  for (size_t i = 0; i < entries.size(); ++i) {
    const TorchEntry& entry = entries[i];
    std::vector<int64_t> strides = entry.strides;
    if (strides.empty()) {
      int64_t stride = 1;
      strides.resize(entry.shape.size());
      for (size_t d = strides.size(); d-- > 0;) {
        strides[d] = stride;
        stride *= entry.shape[d];
      }
    }
    const size_t width = entry.type == "LongStorage" ? 8 : entry.type == "HalfStorage" ? 2 : 4;
    pickle.text(entry.name);
    if (layout.parameters) pickle.global("torch._utils", "_rebuild_parameter").op("(");
    pickle.global("torch._utils", "_rebuild_tensor_v2").op("((").text("storage").global("torch", entry.type);
    pickle.text(std::to_string(i)).text("cpu").number(static_cast<int64_t>(entry.storage.size() / width));
    pickle.op("t").remember().op("Q").number(entry.offset).tuple(entry.shape).tuple(strides);
    pickle.op("\x89").ordered_dict().op("t").remember().op("R").remember();
    if (layout.parameters) pickle.op("\x88").ordered_dict().op("tR").remember();
    files.emplace_back("Vocos/data/" + std::to_string(i), entry.storage);
  }
  pickle.op("u");
  if (layout.metadata) {
    pickle.op("}").remember().text("_metadata").ordered_dict().text("").op("}").remember().text("version").number(1);
    pickle.op("sssb");
  }
  if (!layout.inside.empty()) pickle.op("s");
  pickle.op(".");
  files.insert(files.begin(), {"Vocos/data.pkl", pickle.out});
  files.insert(files.begin() + 1, {"Vocos/byteorder", layout.byte_order});
  files.emplace_back("Vocos/version", "3\n");
  return zip_file(files);
}

}  // namespace minicpm
