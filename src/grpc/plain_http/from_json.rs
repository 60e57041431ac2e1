//! Converts a JSON text into a protobuf message (protobuf's JSON mapping).
//!
//! The bytes are written while the text is parsed, without a tree of values in between: the memory is that of the text
//! and of the message. An error has the field, the line and the column.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::{
    scalars::{Input, message_from_text, write_scalar},
    well_known::{WellKnown, well_known},
    wire::WireType,
    writer::{Step, Writer, shown},
};

/// A JSON text is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grpc) enum JsonError {
    /// The message is larger than the limit.
    TooLarge,
    /// The text is invalid.
    Invalid {
        /// The path of the field, as in the proto; empty for the message itself.
        field: String,
        /// The fault, without its position.
        fault: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at the start of a line.
        column: usize,
    },
}

/// Converts a JSON text into a message of this type, of at most `limit` bytes. The memory is `limit` bytes, and as much
/// as the longest text with escapes.
///
/// # Errors
/// If the text is not such a message, or the message is larger.
pub(in crate::grpc) fn message_from_json(
    message_type: &MessageDescriptor,
    text: &[u8],
    limit: usize,
) -> Result<Vec<u8>, JsonError> {
    let mut writer = Writer::new(text.len(), limit);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = ValueSeed { writer: &mut writer, target: Target::Message(message_type) };
    let parsed = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match parsed {
        Ok(()) => Ok(writer.into_message()),
        Err(_) if writer.is_too_large() => Err(JsonError::TooLarge),
        Err(error) => Err(JsonError::Invalid {
            field: writer.path_text(),
            fault: fault_of(&error),
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// An error's text without the position that serde_json appends.
fn fault_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// What a value of the text becomes.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// The fields of this message.
    Message(&'a MessageDescriptor),
    /// A field with one value, or an element of a list.
    One(&'a FieldDescriptor),
    List(&'a FieldDescriptor),
    Map(&'a FieldDescriptor),
}

/// Reads one value of the text.
struct ValueSeed<'a> {
    writer: &'a mut Writer,
    target: Target<'a>,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn scalar<E: serde::de::Error>(self, input: Input<'_>) -> Result<(), E> {
        let Target::One(field) = self.target else {
            return Err(E::custom(format_args!("expected {self}, found {input}")));
        };
        match field.kind() {
            Kind::Message(message_type) => match well_known(&message_type) {
                WellKnown::Value => {
                    self.writer.delimited(field.number(), |writer| write_free_scalar(writer, input))
                }
                WellKnown::Text => {
                    let bytes = message_from_text(&message_type, input)?;
                    self.writer.delimited(field.number(), |writer| writer.put(&bytes))
                }
                WellKnown::Wrapper => {
                    let value = message_type.get_field(1);
                    let value = value.ok_or_else(|| E::custom("not a wrapper"))?;
                    self.writer.delimited(field.number(), |writer| {
                        write_scalar(writer, value.number(), &value.kind(), input)
                    })
                }
                WellKnown::Other => Err(unsupported(&message_type)),
                WellKnown::Struct | WellKnown::List | WellKnown::None => {
                    Err(E::custom(format_args!("expected {self}, found {input}")))
                }
            },
            kind => write_scalar(self.writer, field.number(), &kind, input),
        }
    }
}

impl fmt::Display for ValueSeed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expecting(formatter)
    }
}

fn unsupported<E: serde::de::Error>(message_type: &MessageDescriptor) -> E {
    E::custom(format_args!("{} is not supported in JSON", message_type.full_name()))
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.target {
            Target::Message(_) | Target::Map(_) => "an object",
            Target::List(_) => "a list",
            Target::One(field) => match field.kind() {
                Kind::Message(message_type) => match well_known(&message_type) {
                    WellKnown::List => "a list",
                    WellKnown::Text => "a text",
                    WellKnown::Value | WellKnown::Wrapper | WellKnown::Other => "a value",
                    WellKnown::Struct | WellKnown::None => "an object",
                },
                Kind::String | Kind::Bytes => "a text",
                Kind::Enum(_) => "the name of an enum's value",
                Kind::Bool => "true or false",
                _ => "a number",
            },
        })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        match self.target {
            // A field that is null is unset, but a free value is null.
            Target::One(field) => match field.kind() {
                Kind::Message(message) if well_known(&message) == WellKnown::Value => {
                    self.scalar(Input::Null)
                }
                _ if field.is_list() => Err(E::custom("an element of a list is null")),
                _ => Ok(()),
            },
            Target::List(_) | Target::Map(_) => Ok(()),
            Target::Message(_) => Err(E::custom("expected an object, found null")),
        }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Input::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(Input::Unsigned(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Input::Signed(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(Input::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Input::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.writer.enter()?;
        let Self { writer, target } = self;
        match (target, container_of(target)) {
            (Target::List(field), _) => elements(writer, field, list)?,
            (Target::One(field), Some((message, WellKnown::List))) => {
                let values = inner_field(&message, "values")?;
                writer.delimited(field.number(), |writer| elements(writer, &values, list))?;
            }
            (Target::One(field), Some((message, WellKnown::Value))) => {
                let (inner, values) = inner_fields(&message, "list_value", "values")?;
                writer.delimited(field.number(), |writer| {
                    writer.delimited(inner.number(), |writer| elements(writer, &values, list))
                })?;
            }
            _ => {
                let expected = Self { writer, target };
                return Err(A::Error::custom(format_args!("expected {expected}, found a list")));
            }
        }
        writer.leave();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.writer.enter()?;
        let Self { writer, target } = self;
        match (target, container_of(target)) {
            (Target::Message(message_type), _) => fields(writer, message_type, map)?,
            (Target::Map(field), _) => entries(writer, field, map)?,
            (Target::One(field), Some((message, WellKnown::None))) => {
                writer.delimited(field.number(), |writer| fields(writer, &message, map))?;
            }
            (Target::One(field), Some((message, WellKnown::Struct))) => {
                let members = inner_field(&message, "fields")?;
                writer.delimited(field.number(), |writer| entries(writer, &members, map))?;
            }
            (Target::One(field), Some((message, WellKnown::Value))) => {
                let (inner, members) = inner_fields(&message, "struct_value", "fields")?;
                writer.delimited(field.number(), |writer| {
                    writer.delimited(inner.number(), |writer| entries(writer, &members, map))
                })?;
            }
            (_, Some((message, WellKnown::Other))) => return Err(unsupported(&message)),
            _ => {
                let expected = Self { writer, target };
                return Err(A::Error::custom(format_args!("expected {expected}, found an object")));
            }
        }
        writer.leave();
        Ok(())
    }
}

/// The message of a field, and its form. `None` if the target is no such field.
fn container_of(target: Target<'_>) -> Option<(MessageDescriptor, WellKnown)> {
    let Target::One(field) = target else { return None };
    let Kind::Message(message_type) = field.kind() else { return None };
    let form = well_known(&message_type);
    Some((message_type, form))
}

/// Reads the fields of a message.
fn fields<'de, A: MapAccess<'de>>(
    writer: &mut Writer,
    message_type: &MessageDescriptor,
    mut map: A,
) -> Result<(), A::Error> {
    let mut seen: Vec<u32> = Vec::new();
    let mut seen_oneofs: Vec<String> = Vec::new();
    while let Some(field) = map.next_key_seed(NameSeed { writer, message_type })? {
        writer.path.push(Step::Name(field.clone()));
        if seen.contains(&field.number()) {
            return Err(A::Error::custom("the field is given twice"));
        }
        seen.push(field.number());
        let before = writer.length();
        map.next_value_seed(ValueSeed { writer, target: target_of(&field) })?;
        let is_set = writer.length() > before;
        if let Some(oneof) =
            field.containing_oneof().filter(|oneof| is_set && !oneof.is_synthetic())
        {
            if seen_oneofs.iter().any(|seen| seen == oneof.name()) {
                return Err(A::Error::custom(format_args!(
                    "another field of the same oneof ({}) is given too",
                    oneof.name()
                )));
            }
            seen_oneofs.push(oneof.name().to_owned());
        }
        writer.path.pop();
    }
    Ok(())
}

fn target_of(field: &FieldDescriptor) -> Target<'_> {
    if field.is_map() {
        Target::Map(field)
    } else if field.is_list() {
        Target::List(field)
    } else {
        Target::One(field)
    }
}

/// Reads the elements of a list.
fn elements<'de, A: SeqAccess<'de>>(
    writer: &mut Writer,
    field: &FieldDescriptor,
    mut list: A,
) -> Result<(), A::Error> {
    for index in 0.. {
        writer.path.push(Step::Index(index));
        let seed = ValueSeed { writer, target: Target::One(field) };
        if list.next_element_seed(seed)?.is_none() {
            writer.path.pop();
            break;
        }
        writer.path.pop();
    }
    Ok(())
}

/// Reads the entries of a map.
fn entries<'de, A: MapAccess<'de>>(
    writer: &mut Writer,
    field: &FieldDescriptor,
    mut map: A,
) -> Result<(), A::Error> {
    let Kind::Message(entry) = field.kind() else { return Err(A::Error::custom("not a map")) };
    let (key_field, value_field) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    // A key is written after the header of its entry.
    loop {
        let has_entry = writer.optional_delimited(field.number(), |writer| {
            let seed = KeySeed { writer, kind: key_field.kind() };
            let Some(()) = map.next_key_seed(seed)? else { return Ok(false) };
            map.next_value_seed(ValueSeed { writer, target: Target::One(&value_field) })?;
            writer.path.pop();
            Ok(true)
        })?;
        if !has_entry {
            return Ok(());
        }
    }
}

/// The field of a well-known type.
fn inner_field<E: serde::de::Error>(
    message_type: &MessageDescriptor,
    name: &str,
) -> Result<FieldDescriptor, E> {
    message_type
        .get_field_by_name(name)
        .ok_or_else(|| E::custom(format_args!("{} has no {name}", message_type.full_name())))
}

/// A field of a free value, and the field of the list or object in it.
fn inner_fields<E: serde::de::Error>(
    value: &MessageDescriptor,
    name: &str,
    inner_name: &str,
) -> Result<(FieldDescriptor, FieldDescriptor), E> {
    let inner = inner_field(value, name)?;
    let Kind::Message(container) = inner.kind() else { return Err(unsupported(value)) };
    let inner_most = inner_field(&container, inner_name)?;
    Ok((inner, inner_most))
}

fn write_free_scalar<E: serde::de::Error>(writer: &mut Writer, input: Input<'_>) -> Result<(), E> {
    match input {
        Input::Null => {
            writer.put_tag(1, WireType::Varint)?;
            writer.put_varint(0)
        }
        Input::Text(_) => write_scalar(writer, 3, &Kind::String, input),
        Input::Bool(_) => write_scalar(writer, 4, &Kind::Bool, input),
        Input::Unsigned(_) | Input::Signed(_) | Input::Float(_) => {
            write_scalar(writer, 2, &Kind::Double, input)
        }
    }
}

/// Reads the name of a field: as in JSON, or as in the proto.
struct NameSeed<'a> {
    writer: &'a mut Writer,
    message_type: &'a MessageDescriptor,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = FieldDescriptor;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<FieldDescriptor, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = FieldDescriptor;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<FieldDescriptor, E> {
        let field = self.message_type.get_field_by_json_name(name);
        field.or_else(|| self.message_type.get_field_by_name(name)).ok_or_else(|| {
            self.writer.path.push(Step::Key(shown(name)));
            E::custom(format_args!("{} has no such field", self.message_type.full_name()))
        })
    }
}

/// Reads the key of a map's entry, and adds it to the path.
struct KeySeed<'a> {
    writer: &'a mut Writer,
    kind: Kind,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        self.writer.path.push(Step::Key(shown(key)));
        let input = match (&self.kind, key) {
            (Kind::Bool, "true") => Input::Bool(true),
            (Kind::Bool, "false") => Input::Bool(false),
            _ => Input::Text(key),
        };
        write_scalar(self.writer, 1, &self.kind, input)
    }
}
