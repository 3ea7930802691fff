#include "text/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "base/error.h"

namespace minicpm {
namespace {

using Rule = Grammar::Rule;

constexpr int kDeepest = 64;
/// Numbers and runs of blanks end somewhere, so that an answer cannot go on in them for ever; exponents have two digits,
/// so that every number fits a double.
constexpr int64_t kMostDigits = 18;
constexpr int64_t kMostIndent = 24;

ByteSet range(int first, int last) {
  ByteSet set;
  for (int byte = first; byte <= last; ++byte)
    set.set(static_cast<size_t>(byte));
  return set;
}

ByteSet one_of(std::string_view bytes) {
  ByteSet set;
  for (const char c : bytes)
    set.set(static_cast<uint8_t>(c));
  return set;
}

/// The rules that every schema shares.
class JsonRules {
 public:
  explicit JsonRules(Grammar& grammar) : g_(grammar) {
    digit = g_.bytes(range('0', '9'));
    const Rule newline = g_.sequence({g_.literal("\n"), g_.repeat(g_.bytes(one_of(" \t")), 0, kMostIndent)});
    blank = g_.optional(g_.choice({g_.literal(" "), newline}));
    make_string();
    make_numbers();
    boolean = g_.choice({g_.literal("true"), g_.literal("false")});
    null = g_.literal("null");
    value = g_.declare();
    array = list(value, 0, -1);
    object = g_.sequence({g_.literal("{"), blank, g_.optional(members(member(string, value))), g_.literal("}")});
    g_.define(value, g_.choice({object, array, string, number, boolean, null}));
  }

  Rule member(Rule name, Rule content) { return g_.sequence({name, blank, g_.literal(":"), blank, content}); }
  Rule comma() { return g_.sequence({g_.literal(","), blank}); }
  /// One or more, with commas.
  Rule members(Rule one) { return g_.sequence({one, blank, g_.star(g_.sequence({comma(), one, blank}))}); }

  /// An array of `min` to `max` elements; max -1: any number.
  Rule list(Rule element, int64_t min, int64_t max) {
    const Rule first = g_.sequence({element, blank});
    const Rule more = g_.sequence({comma(), element, blank});
    Rule content = g_.sequence({});
    if (max != 0) {
      const int64_t least = std::max<int64_t>(min - 1, 0);
      const Rule rest =
          max < 0 ? g_.sequence({g_.repeat(more, least, least), g_.star(more)}) : g_.repeat(more, least, max - 1);
      content = g_.sequence({first, rest});
      if (min <= 0) content = g_.optional(content);
    }
    return g_.sequence({g_.literal("["), blank, content, g_.literal("]")});
  }

  Rule quoted(Rule content) { return g_.sequence({g_.literal("\""), content, g_.literal("\"")}); }

  Rule digit, blank, character, string, integer, number, boolean, null, value, array, object;

 private:
  // RFC 3629's well-formed UTF-8, without what JSON wants escaped.
  void make_string() {
    const Rule tail = g_.bytes(range(0x80, 0xbf));
    ByteSet plain = range(0x20, 0x7f);
    plain.reset('"');
    plain.reset('\\');
    const auto lead = [&](int first, int last) { return g_.bytes(range(first, last)); };
    const Rule hex = g_.bytes(one_of("0123456789abcdefABCDEF"));
    const Rule escape =
        g_.sequence({g_.literal("\\"),
                     g_.choice({g_.bytes(one_of("\"\\/bfnrt")), g_.sequence({g_.literal("u"), hex, hex, hex, hex})})});
    character =
        g_.choice({g_.bytes(plain), escape, g_.sequence({lead(0xc2, 0xdf), tail}),
                   g_.sequence({lead(0xe0, 0xe0), lead(0xa0, 0xbf), tail}), g_.sequence({lead(0xe1, 0xec), tail, tail}),
                   g_.sequence({lead(0xed, 0xed), lead(0x80, 0x9f), tail}), g_.sequence({lead(0xee, 0xef), tail, tail}),
                   g_.sequence({lead(0xf0, 0xf0), lead(0x90, 0xbf), tail, tail}),
                   g_.sequence({lead(0xf1, 0xf3), tail, tail, tail}),
                   g_.sequence({lead(0xf4, 0xf4), lead(0x80, 0x8f), tail, tail})});
    string = quoted(g_.star(character));
  }

  void make_numbers() {
    const Rule whole =
        g_.choice({g_.literal("0"), g_.sequence({g_.bytes(range('1', '9')), g_.repeat(digit, 0, kMostDigits - 1)})});
    integer = g_.sequence({g_.optional(g_.literal("-")), whole});
    const Rule digits = g_.repeat(digit, 1, kMostDigits);
    const Rule fraction = g_.optional(g_.sequence({g_.literal("."), digits}));
    const Rule exponent =
        g_.optional(g_.sequence({g_.bytes(one_of("eE")), g_.optional(g_.bytes(one_of("+-"))), g_.repeat(digit, 1, 2)}));
    number = g_.sequence({integer, fraction, exponent});
  }

  Grammar& g_;
};

/// Decimal numbers from `low` to `high`, both not negative, without leading zeros.
class NaturalRange {
 public:
  explicit NaturalRange(Grammar& grammar) : g_(grammar) {}

  Rule make(uint64_t low, uint64_t high) {
    std::vector<Rule> parts;
    const std::string last = std::to_string(high);
    std::string first = std::to_string(low);
    while (first.size() < last.size()) {  // up to 9, 99, 999, ...
      parts.push_back(same_length(first, std::string(first.size(), '9')));
      first = "1" + std::string(first.size(), '0');
    }
    parts.push_back(same_length(first, last));
    return g_.choice(std::move(parts));
  }

 private:
  Rule any_digits(size_t count) {
    const auto digits = static_cast<int64_t>(count);
    return g_.repeat(g_.bytes(range('0', '9')), digits, digits);
  }

  Rule same_length(const std::string& low, const std::string& high) {
    if (low.find_first_not_of('0') == std::string::npos && high.find_first_not_of('9') == std::string::npos) {
      return any_digits(low.size());
    }
    const std::string low_rest = low.substr(1), high_rest = high.substr(1);
    const auto digit = [&](char c) { return g_.literal(std::string(1, c)); };
    if (low[0] == high[0]) return g_.sequence({digit(low[0]), same_length(low_rest, high_rest)});
    std::vector<Rule> parts;
    parts.push_back(g_.sequence({digit(low[0]), same_length(low_rest, std::string(low_rest.size(), '9'))}));
    if (high[0] - low[0] > 1) {
      parts.push_back(g_.sequence({g_.bytes(range(low[0] + 1, high[0] - 1)), any_digits(low_rest.size())}));
    }
    parts.push_back(g_.sequence({digit(high[0]), same_length(std::string(high_rest.size(), '0'), high_rest)}));
    return g_.choice(std::move(parts));
  }

  Grammar& g_;
};

class SchemaCompiler {
 public:
  SchemaCompiler(Grammar& grammar, const Json& root) : g_(grammar), rules_(grammar), root_(root) {}

  Rule compile(const Json& schema, const std::string& place, int depth);

 private:
  [[noreturn]] static void refuse(const std::string& place, const std::string& what) {
    fail(ErrorCode::kInvalidRequest, "JSON schema at {}: {}", place.empty() ? "its root" : place, what);
  }

  void check_keywords(const Json& schema, const std::string& place) const;
  int64_t count(const Json& schema, const char* key, int64_t missing, const std::string& place) const;
  Rule reference(const Json& schema, const std::string& place, int depth);
  Rule any_of(const Json& list, const std::string& place, int depth);
  Rule constants(const Json& values, const std::string& place);
  Rule typed(const std::string& type, const Json& schema, const std::string& place, int depth);
  Rule string(const Json& schema, const std::string& place);
  Rule formatted(const std::string& format);
  Rule integer(const Json& schema, const std::string& place);
  Rule object(const Json& schema, const std::string& place, int depth);
  Rule further_members(const Json& schema, const std::string& place, int depth);
  Rule array(const Json& schema, const std::string& place, int depth);

  Grammar& g_;
  JsonRules rules_;
  const Json& root_;
  std::map<std::string, Rule> references_;
};

void SchemaCompiler::check_keywords(const Json& schema, const std::string& place) const {
  static const std::set<std::string> kKnown = {"type",
                                               "properties",
                                               "required",
                                               "additionalProperties",
                                               "items",
                                               "prefixItems",
                                               "minItems",
                                               "maxItems",
                                               "minLength",
                                               "maxLength",
                                               "minimum",
                                               "maximum",
                                               "enum",
                                               "const",
                                               "anyOf",
                                               "oneOf",
                                               "allOf",
                                               "$ref",
                                               "format",
                                               "multipleOf",
                                               "nullable",
                                               "exclusiveMinimum",
                                               "exclusiveMaximum",
                                               "title",
                                               "default",
                                               "description",
                                               "examples",
                                               "$schema",
                                               "$id",
                                               "$defs",
                                               "definitions",
                                               "$comment",
                                               "deprecated",
                                               "readOnly",
                                               "writeOnly",
                                               "contentMediaType",
                                               "contentEncoding",
                                               "strict",
                                               "name"};
  for (const auto& [key, value] : schema.items()) {
    if (!kKnown.contains(key)) refuse(place, fmt::format("the keyword \"{}\" is not supported", key));
  }
}

int64_t SchemaCompiler::count(const Json& schema, const char* key, int64_t missing, const std::string& place) const {
  if (!schema.contains(key)) return missing;
  const Json& value = schema.at(key);
  constexpr int64_t kMost = 10'000;
  if (!value.is_number_integer() || value < 0 || value > kMost) {
    refuse(place, fmt::format("{} must be a number from 0 to {}, found {}", key, kMost, value.dump()));
  }
  return value.get<int64_t>();
}

Rule SchemaCompiler::reference(const Json& schema, const std::string& place, int depth) {
  const Json& target = schema.at("$ref");
  if (!target.is_string()) refuse(place, "$ref must be a string");
  const auto text = target.get<std::string>();
  if (const auto known = references_.find(text); known != references_.end()) return known->second;
  const Json* found = nullptr;
  try {
    if (text.starts_with("#")) found = &root_.at(Json::json_pointer(text.substr(1)));
  } catch (const Json::exception&) {
    // Said below.
  }
  if (found == nullptr) refuse(place, fmt::format("$ref \"{}\" does not lead to a part of this schema", text));
  const Rule rule = g_.declare();
  references_[text] = rule;  // before it is compiled: it may refer to itself
  g_.define(rule, compile(*found, text, depth + 1));
  return rule;
}

Rule SchemaCompiler::any_of(const Json& list, const std::string& place, int depth) {
  if (!list.is_array() || list.empty()) refuse(place, "it must be a list of schemas");
  std::vector<Rule> parts;
  for (size_t i = 0; i < list.size(); ++i)
    parts.push_back(compile(list[i], fmt::format("{}/{}", place, i), depth + 1));
  return g_.choice(std::move(parts));
}

Rule SchemaCompiler::constants(const Json& values, const std::string& place) {
  if (!values.is_array() || values.empty()) refuse(place, "enum must be a list with something in it");
  std::vector<Rule> parts;
  for (const Json& value : values)
    parts.push_back(g_.literal(value.dump()));
  return g_.choice(std::move(parts));
}

Rule SchemaCompiler::compile(const Json& schema, const std::string& place, int depth) {
  if (depth > kDeepest) refuse(place, fmt::format("it is nested more than {} deep", kDeepest));
  if (schema.is_boolean() && schema.get<bool>()) return rules_.value;
  if (!schema.is_object()) refuse(place, fmt::format("a schema must be an object, found {}", schema.type_name()));
  check_keywords(schema, place);
  if (schema.contains("$ref")) return reference(schema, place, depth);
  if (schema.contains("const")) return g_.literal(schema.at("const").dump());
  if (schema.contains("enum")) return constants(schema.at("enum"), place);
  for (const char* key : {"anyOf", "oneOf"}) {
    if (schema.contains(key)) return any_of(schema.at(key), place + "/" + key, depth);
  }
  if (schema.contains("allOf")) {
    const Json& all = schema.at("allOf");
    if (!all.is_array() || all.size() != 1) refuse(place, "allOf is supported with one schema only");
    return compile(all[0], place + "/allOf/0", depth + 1);
  }
  std::vector<std::string> types;
  if (schema.contains("type")) {
    const Json& type = schema.at("type");
    for (const Json& name : type.is_array() ? type : Json::array({type})) {
      if (!name.is_string()) refuse(place, "type must be a string or a list of strings");
      types.push_back(name.get<std::string>());
    }
  } else if (schema.contains("properties")) {
    types.push_back("object");
  } else if (schema.contains("items") || schema.contains("prefixItems")) {
    types.push_back("array");
  }
  if (types.empty()) return rules_.value;
  if (schema.value("nullable", false)) types.push_back("null");
  std::vector<Rule> parts;
  for (const std::string& type : types)
    parts.push_back(typed(type, schema, place, depth));
  return g_.choice(std::move(parts));
}

Rule SchemaCompiler::typed(const std::string& type, const Json& schema, const std::string& place, int depth) {
  if (type == "object") return object(schema, place, depth);
  if (type == "array") return array(schema, place, depth);
  if (type == "string") return string(schema, place);
  if (type == "integer") return integer(schema, place);
  if (type == "boolean") return rules_.boolean;
  if (type == "null") return rules_.null;
  if (type != "number") refuse(place, fmt::format("unknown type \"{}\"", type));
  for (const char* key : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    if (schema.contains(key)) refuse(place, fmt::format("{} is supported for integers only", key));
  }
  return rules_.number;
}

Rule SchemaCompiler::formatted(const std::string& format) {
  const auto digits = [&](int64_t n) { return g_.repeat(rules_.digit, n, n); };
  const auto up_to = [&](const char* tens, const char* last) {  // two digits: first of `tens` freely, or "last"
    return g_.choice({g_.sequence({g_.bytes(one_of(tens)), rules_.digit}), g_.literal(last)});
  };
  const Rule month = g_.choice({g_.sequence({g_.literal("0"), g_.bytes(range('1', '9'))}),
                                g_.sequence({g_.literal("1"), g_.bytes(range('0', '2'))})});
  const Rule day = g_.choice({g_.sequence({g_.literal("0"), g_.bytes(range('1', '9'))}),
                              g_.sequence({g_.bytes(one_of("12")), rules_.digit}), g_.literal("30"), g_.literal("31")});
  const Rule date = g_.sequence({digits(4), g_.literal("-"), month, g_.literal("-"), day});
  const Rule hour = g_.choice({up_to("01", "20"), g_.literal("21"), g_.literal("22"), g_.literal("23")});
  const Rule sixty = g_.sequence({g_.bytes(range('0', '5')), rules_.digit});
  const Rule zone = g_.choice({g_.literal("Z"), g_.sequence({g_.bytes(one_of("+-")), hour, g_.literal(":"), sixty})});
  const Rule time = g_.sequence({hour, g_.literal(":"), sixty, g_.literal(":"), sixty,
                                 g_.optional(g_.sequence({g_.literal("."), g_.repeat(rules_.digit, 1, 6)})), zone});
  if (format == "date") return date;
  if (format == "time") return time;
  if (format == "date-time") return g_.sequence({date, g_.literal("T"), time});
  const Rule hex = g_.bytes(one_of("0123456789abcdef"));
  const auto block = [&](int64_t n) { return g_.repeat(hex, n, n); };
  const Rule dash = g_.literal("-");
  return g_.sequence({block(8), dash, block(4), dash, block(4), dash, block(4), dash, block(12)});  // uuid
}

Rule SchemaCompiler::string(const Json& schema, const std::string& place) {
  const bool sized = schema.contains("minLength") || schema.contains("maxLength");
  static const std::set<std::string> kFormats = {"date", "time", "date-time", "uuid"};
  const std::string format = schema.contains("format") && schema.at("format").is_string()
                                 ? schema.at("format").get<std::string>()
                                 : std::string();
  if (kFormats.contains(format)) {
    if (sized) refuse(place, "a length beside a format is not supported");
    return rules_.quoted(formatted(format));
  }
  if (!sized) return rules_.string;
  const int64_t min = count(schema, "minLength", 0, place), max = count(schema, "maxLength", -1, place);
  if (max >= 0 && max < min) refuse(place, "maxLength is less than minLength");
  const Rule content = max >= 0 ? g_.repeat(rules_.character, min, max)
                                : g_.sequence({g_.repeat(rules_.character, min, min), g_.star(rules_.character)});
  return rules_.quoted(content);
}

Rule SchemaCompiler::integer(const Json& schema, const std::string& place) {
  constexpr int64_t kFarthest = 999'999'999'999'999'999;
  int64_t low = -kFarthest, high = kFarthest;
  const auto bound = [&](const char* key, int64_t shift, int64_t& end) {
    if (!schema.contains(key)) return;
    const Json& value = schema.at(key);
    if (!value.is_number_integer() || value < -kFarthest || value > kFarthest) {
      refuse(place,
             fmt::format("{} of an integer must be an integer of at most 18 digits, found {}", key, value.dump()));
    }
    end = value.get<int64_t>() + shift;
  };
  bound("minimum", 0, low);
  bound("exclusiveMinimum", 1, low);
  bound("maximum", 0, high);
  bound("exclusiveMaximum", -1, high);
  if (schema.contains("multipleOf") && schema.at("multipleOf") != 1) refuse(place, "multipleOf is not supported");
  if (low > high) refuse(place, "no integer lies between its minimum and its maximum");
  if (low == -kFarthest && high == kFarthest) return rules_.integer;
  NaturalRange naturals(g_);
  std::vector<Rule> parts;
  if (high >= 0)
    parts.push_back(naturals.make(static_cast<uint64_t>(std::max<int64_t>(low, 0)), static_cast<uint64_t>(high)));
  if (low < 0) {
    const auto nearest = static_cast<uint64_t>(-std::min<int64_t>(high, -1));
    parts.push_back(g_.sequence({g_.literal("-"), naturals.make(nearest, static_cast<uint64_t>(-low))}));
  }
  return g_.choice(std::move(parts));
}

// Members that properties do not name, any number of them, each behind a comma; or no rule if there are to be none.
Rule SchemaCompiler::further_members(const Json& schema, const std::string& place, int depth) {
  if (!schema.contains("additionalProperties")) return -1;
  const Json& further = schema.at("additionalProperties");
  if (further.is_boolean() && !further.get<bool>()) return -1;
  return rules_.member(rules_.string, compile(further, place + "/additionalProperties", depth + 1));
}

Rule SchemaCompiler::object(const Json& schema, const std::string& place, int depth) {
  const Rule further = further_members(schema, place, depth);
  const Json properties = schema.contains("properties") ? schema.at("properties") : Json::object();
  if (!properties.is_object()) refuse(place, "properties must be an object");
  std::set<std::string> required;
  if (schema.contains("required")) {
    if (!schema.at("required").is_array()) refuse(place, "required must be a list of names");
    for (const Json& name : schema.at("required")) {
      if (!name.is_string()) refuse(place, "required must be a list of names");
      if (!properties.contains(name.get<std::string>())) {
        refuse(place, fmt::format("\"{}\" is required but not among the properties", name.get<std::string>()));
      }
      required.insert(name.get<std::string>());
    }
  }
  if (properties.empty() && !schema.contains("additionalProperties")) return rules_.object;

  // From the last member to the first: what may follow when something stands before it already, and when nothing does.
  const Rule nothing = g_.sequence({});
  Rule after_some = further < 0 ? nothing : g_.star(g_.sequence({rules_.comma(), further, rules_.blank}));
  Rule after_none = further < 0 ? nothing : g_.optional(rules_.members(further));
  std::vector<std::pair<std::string, const Json*>> names;
  for (const auto& [name, property] : properties.items())
    names.emplace_back(name, &property);
  for (size_t i = names.size(); i-- > 0;) {
    const auto& [name, property] = names[i];
    const Rule content = compile(*property, fmt::format("{}/properties/{}", place, name), depth + 1);
    const Rule member = g_.sequence({rules_.member(g_.literal(Json(name).dump()), content), rules_.blank});
    Rule some = g_.sequence({rules_.comma(), member, after_some});
    Rule none = g_.sequence({member, after_some});
    if (!required.contains(name)) {
      some = g_.choice({some, after_some});
      none = g_.choice({none, after_none});
    }
    after_some = some;
    after_none = none;
  }
  return g_.sequence({g_.literal("{"), rules_.blank, after_none, g_.literal("}")});
}

Rule SchemaCompiler::array(const Json& schema, const std::string& place, int depth) {
  const int64_t min = count(schema, "minItems", 0, place), max = count(schema, "maxItems", -1, place);
  if (max >= 0 && max < min) refuse(place, "maxItems is less than minItems");
  if (schema.contains("prefixItems")) {
    const Json& prefix = schema.at("prefixItems");
    const bool closed = schema.contains("items") && schema.at("items") == Json(false);
    if (!prefix.is_array() || prefix.empty() || !closed) {
      refuse(place, "prefixItems is supported as a list that is the whole array (\"items\": false)");
    }
    std::vector<Rule> parts = {g_.literal("["), rules_.blank};
    for (size_t i = 0; i < prefix.size(); ++i) {
      if (i > 0) parts.push_back(rules_.comma());
      parts.push_back(compile(prefix[i], fmt::format("{}/prefixItems/{}", place, i), depth + 1));
      parts.push_back(rules_.blank);
    }
    parts.push_back(g_.literal("]"));
    return g_.sequence(std::move(parts));
  }
  const Rule element =
      schema.contains("items") ? compile(schema.at("items"), place + "/items", depth + 1) : rules_.value;
  return rules_.list(element, min, max);
}

}  // namespace

Grammar json_object_grammar() {
  Grammar grammar;
  const JsonRules rules(grammar);
  grammar.set_start(rules.object);
  return grammar;
}

Grammar json_schema_grammar(const Json& schema) {
  Grammar grammar;
  grammar.set_start(add_json_schema(grammar, schema));
  return grammar;
}

Grammar::Rule add_json_schema(Grammar& grammar, const Json& schema) {
  return SchemaCompiler(grammar, schema).compile(schema, "", 0);
}

}  // namespace minicpm
