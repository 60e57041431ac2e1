//! Converts JSON values to the types of the request. A value of another type than expected is exported in
//! another form.

use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::{
    exact_json::{Json, Path},
    replaced::{Reason, Replacements, json_text, without_unsendable},
};

/// The key of a value that is not an object where an object is expected.
const VALUE: &str = "value";

/// Converts a string; null becomes `None`, and another value its JSON text.
pub(super) fn text(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Option<String> {
    match json {
        Json::Null => None,
        Json::String(text) => Some(text),
        Json::Number(number)
            if number.as_double().is_err_and(|(_, why)| why == Reason::NotFinite) =>
        {
            let text = without_unsendable(Json::Number(number), path, 1, replaced);
            Some(json_text(text, path, replaced))
        }
        other => {
            replaced.add(path, Reason::WrongType);
            Some(json_text(other, path, replaced))
        }
    }
}

/// The entries of an object. Another value is the only one.
pub(super) fn object(
    json: Json,
    path: &Path<'_>,
    replaced: &mut Replacements,
) -> Vec<(String, Json)> {
    match json {
        Json::Object(entries) => entries,
        other => {
            replaced.add(path, Reason::WrongType);
            vec![(VALUE.to_owned(), other)]
        }
    }
}

/// The elements of a list; null has none, and another value is the only one.
pub(super) fn list(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Vec<Json> {
    match json {
        Json::Null => Vec::new(),
        Json::Array(elements) => elements,
        other => {
            replaced.add(path, Reason::WrongType);
            vec![other]
        }
    }
}

/// Converts a list of free-form objects.
pub(super) fn structs(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Vec<Struct> {
    list(json, path, replaced)
        .into_iter()
        .enumerate()
        .map(|(index, element)| to_struct(element, &path.index(index), replaced))
        .collect()
}

/// Converts a free-form object.
pub(super) fn to_struct(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Struct {
    let fields = object(json, path, replaced).into_iter().map(|(key, json)| {
        let value = to_value(json, &path.key(&key), replaced);
        (key, value)
    });
    Struct { fields: fields.collect() }
}

/// Converts a free-form value of an object.
pub(super) fn to_value(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Value {
    // The object itself is the first level.
    convert(without_unsendable(json, path, 2, replaced))
}

fn convert(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => match number.as_double() {
            Ok(double) => Kind::NumberValue(double),
            Err((text, _)) => Kind::StringValue(text),
        },
        Json::String(text) => Kind::StringValue(text),
        Json::Array(elements) => {
            Kind::ListValue(ListValue { values: elements.into_iter().map(convert).collect() })
        }
        Json::Object(entries) => {
            let fields = entries.into_iter().map(|(key, json)| (key, convert(json))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}
