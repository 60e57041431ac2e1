//! `&Json` as a serde deserializer: protobuf reflection reads the exact numbers, and its errors have a
//! path.

use std::fmt;

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{Json, JsonError, Number, Path};

/// A deserialization error with its path.
#[derive(Debug)]
pub struct DecodeError {
    /// From the leaf to the root.
    segments: Vec<Segment>,
    message: String,
}

#[derive(Debug)]
enum Segment {
    Key(String),
    Index(usize),
}

impl DecodeError {
    fn with_parent(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    /// Converts the error, with its path as text.
    pub(crate) fn into_json_error(self) -> JsonError {
        fn walk(path: &Path<'_>, segments: &[Segment], message: String) -> JsonError {
            match segments.split_last() {
                None => JsonError::at(path, message),
                Some((Segment::Key(key), rest)) => walk(&path.key(key), rest, message),
                Some((Segment::Index(index), rest)) => walk(&path.index(*index), rest, message),
            }
        }
        walk(&Path::Top, &self.segments, self.message)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { segments: Vec::new(), message: message.to_string() }
    }
}

impl<'de> Deserializer<'de> for &'de Json {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::Number(Number::Integer(integer)) => visitor.visit_i64(*integer),
            Json::Number(Number::HugeInteger(digits)) => {
                Err(de::Error::custom(format!("the integer {digits} is too large")))
            }
            Json::Number(Number::Float(double)) => visitor.visit_f64(*double),
            Json::Number(Number::BeyondDouble(text)) => {
                Err(de::Error::custom(format!("the number {text} is too large for a double")))
            }
            Json::Number(Number::NotFinite(name)) => visitor.visit_borrowed_str(name),
            Json::String(text) => visitor.visit_borrowed_str(text),
            Json::Array(elements) => visitor.visit_seq(Elements { rest: elements, index: 0 }),
            Json::Object(entries) => visitor.visit_map(Entries { rest: entries, pending: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Elements<'de> {
    rest: &'de [Json],
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let index = self.index;
        self.rest = rest;
        self.index += 1;
        seed.deserialize(first).map(Some).map_err(|error| error.with_parent(Segment::Index(index)))
    }
}

struct Entries<'de> {
    rest: &'de [(String, Json)],
    /// The entry whose value is read next.
    pending: Option<&'de (String, Json)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        self.pending = Some(first);
        seed.deserialize(first.0.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some((key, value)) = self.pending.take() else {
            return Err(de::Error::custom("value requested before its key"));
        };
        seed.deserialize(value).map_err(|error| error.with_parent(Segment::Key(key.clone())))
    }
}
