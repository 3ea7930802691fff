#include "text/python_json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr int kMaxDepth = 128;

void write_string(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

/// Shortest digits that read back equal; an exponent below 1e-4 and from 1e16 on, always with a fraction or exponent.
void write_float(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    return;
  }
  char buffer[32];
  const auto scientific = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(scientific.ptr - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(buffer + e + (text[e + 1] == '+' ? 2 : 1), scientific.ptr, exponent);
  if (value != 0 && (exponent < -4 || exponent >= 16)) {
    out += text;  // to_chars writes at least two digits of exponent, as Python does
    return;
  }
  char fixed[64];
  const auto end = std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed);
  const std::string_view digits(fixed, static_cast<size_t>(end.ptr - fixed));
  out += digits;
  if (digits.find('.') == std::string_view::npos) out += ".0";
}

void write(const Json& json, int depth, std::string& out) {
  if (depth > kMaxDepth) fail(ErrorCode::kInvalidRequest, "tools are nested deeper than {} levels", kMaxDepth);
  const char* separator = "";
  switch (json.type()) {
    case Json::value_t::object:
      out += '{';
      for (const auto& [key, value] : json.items()) {
        out += separator;
        write_string(key, out);
        out += ": ";
        write(value, depth + 1, out);
        separator = ", ";
      }
      out += '}';
      break;
    case Json::value_t::array:
      out += '[';
      for (const Json& value : json) {
        out += separator;
        write(value, depth + 1, out);
        separator = ", ";
      }
      out += ']';
      break;
    case Json::value_t::string:
      write_string(json.get_ref<const std::string&>(), out);
      break;
    case Json::value_t::number_float:
      write_float(json.get<double>(), out);
      break;
    default:  // null, booleans and whole numbers look alike everywhere
      out += json.dump();
  }
}

}  // namespace

std::string to_python_json(const Json& json) {
  std::string out;
  write(json, 1, out);
  return out;
}

}  // namespace minicpm
