//! JSON values to the types of the request.

use prost_types::{ListValue, Struct, Value, value::Kind};

use super::wrong_type;
use crate::client::{
    exact_json::{Json, JsonError, Path},
    json::{MAX_FREE_DEPTH, too_deep},
};

/// A text, or nothing where the value is null.
pub(super) fn text(json: Json, path: &Path<'_>) -> Result<Option<String>, JsonError> {
    match json {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text)),
        other => Err(wrong_type(path, "a string", &other)),
    }
}

/// A list of free objects; null is an empty one.
pub(super) fn structs(json: Json, path: &Path<'_>) -> Result<Vec<Struct>, JsonError> {
    match json {
        Json::Null => Ok(Vec::new()),
        Json::Array(elements) => elements
            .into_iter()
            .enumerate()
            .map(|(index, element)| match element {
                Json::Object(entries) => to_struct(entries, &path.index(index)),
                other => Err(wrong_type(&path.index(index), "an object", &other)),
            })
            .collect(),
        other => Err(wrong_type(path, "a list of objects", &other)),
    }
}

/// A free object.
pub(super) fn to_struct(
    entries: Vec<(String, Json)>,
    path: &Path<'_>,
) -> Result<Struct, JsonError> {
    struct_at_level(entries, path, 1)
}

/// A free value among those of an object.
pub(super) fn to_value(json: Json, path: &Path<'_>) -> Result<Value, JsonError> {
    value_below_level(json, path, 1)
}

fn struct_at_level(
    entries: Vec<(String, Json)>,
    path: &Path<'_>,
    level: usize,
) -> Result<Struct, JsonError> {
    let fields = entries
        .into_iter()
        .map(|(key, json)| {
            let value = value_below_level(json, &path.key(&key), level)?;
            Ok((key, value))
        })
        .collect::<Result<_, JsonError>>()?;
    Ok(Struct { fields })
}

/// A value that stands directly in a list or object of this level.
fn value_below_level(json: Json, path: &Path<'_>, level: usize) -> Result<Value, JsonError> {
    if level == MAX_FREE_DEPTH && matches!(json, Json::Array(_) | Json::Object(_)) {
        return Err(too_deep(path));
    }
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => match number.as_double() {
            Ok(double) => Kind::NumberValue(double),
            Err(digits) => return Err(JsonError::rounded(path, &digits)),
        },
        Json::String(text) => Kind::StringValue(text),
        Json::Array(elements) => {
            let values = elements
                .into_iter()
                .enumerate()
                .map(|(index, element)| value_below_level(element, &path.index(index), level + 1))
                .collect::<Result<_, _>>()?;
            Kind::ListValue(ListValue { values })
        }
        Json::Object(entries) => Kind::StructValue(struct_at_level(entries, path, level + 1)?),
    };
    Ok(Value { kind: Some(kind) })
}
