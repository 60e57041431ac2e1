//! `&Json` as a serde deserializer, so that protobuf reflection reads the exact numbers, and its
//! errors say where in the text they are.

use std::fmt;

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{Json, JsonError, Number, Path};

/// An error of what reads the value, with its place.
#[derive(Debug)]
pub struct DecodeError {
    /// From the leaf up.
    segments: Vec<Segment>,
    message: String,
}

#[derive(Debug)]
enum Segment {
    Key(String),
    Index(usize),
}

impl DecodeError {
    fn below(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    /// The error with its path written out.
    pub(in crate::client) fn into_json_error(self) -> JsonError {
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
        seed.deserialize(first).map(Some).map_err(|error| error.below(Segment::Index(index)))
    }
}

struct Entries<'de> {
    rest: &'de [(String, Json)],
    /// The entry whose key was read last.
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
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(value).map_err(|error| error.below(Segment::Key(key.clone())))
    }
}
