// JSON schemas as grammars: every text of the grammar is JSON that satisfies the schema.
#pragma once

#include "base/json.h"
#include "text/grammar.h"

namespace minicpm {

/// Any JSON object.
Grammar json_object_grammar();

/// Kept: type (one or several), properties in their order, required, additionalProperties, items, prefixItems,
/// minItems, maxItems, minLength, maxLength, minimum and maximum (and their exclusive forms) of integers, multipleOf 1,
/// enum, const, anyOf, oneOf (as anyOf), allOf of one schema, $ref into the schema, format date, time, date-time and
/// uuid. Objects have no members but the named ones unless additionalProperties asks for them. Annotations (title,
/// description, default, examples, other formats) are allowed; any other keyword throws Error invalid_request naming
/// its place, since an answer that ignored it would be wrong.
Grammar json_schema_grammar(const Json& schema);

/// The same as a rule of a larger grammar.
Grammar::Rule add_json_schema(Grammar& grammar, const Json& schema);

}  // namespace minicpm
