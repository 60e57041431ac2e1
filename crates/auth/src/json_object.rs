//! JSON objects with unique names.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// An object without duplicate names at any depth. Two parsers may interpret a token with a duplicate name
/// differently, so RFC 7515 (section 4) and RFC 7519 (section 4) allow a parser to refuse it.
#[derive(Debug)]
pub(super) struct UniqueNames(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Unique.deserialize(deserializer)? {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(D::Error::custom("not an object")),
        }
    }
}

/// Deserializes any value. Its depth is limited by the deserializer.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut names: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = names.next_key::<String>()? {
            if object.insert(name, names.next_value_seed(Self)?).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
        serde_json::from_str::<UniqueNames>(text).map(|object| object.0)
    }

    #[test]
    fn duplicate_name_is_refused_at_every_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"realm_access":{"roles":["read"],"roles":["admin"]}}"#,
            r#"{"a":[{"b":[{"c":1,"c":2}]}]}"#,
        ] {
            assert!(parse(text).unwrap_err().to_string().contains("duplicate name"), "{text}");
        }
    }

    #[test]
    fn other_values_are_as_serde_json_reads_them() {
        let text = r#"{"a":{"a":[1,-2,3.5,1e300,true,false,null,"x","\u00fc\\",[],{}]},"b":18446744073709551615}"#;
        let expected: Map<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text).unwrap(), expected);
        for text in ["[]", "1", "null", r#""a""#, "{}x", "{", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(parse(&deep).unwrap_err().to_string().contains("recursion limit"));
    }
}
