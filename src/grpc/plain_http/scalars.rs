//! Values of single fields in JSON and in a message (protobuf's JSON mapping).

use std::{fmt, str::FromStr};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::Message as _;
use prost_reflect::{Kind, MessageDescriptor};
use serde::de::Error;

use super::{
    wire::WireType,
    writer::{Writer, shown},
};

/// Both alphabets, with and without padding.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
/// Characters that are decoded at once: a multiple of four.
const BASE64_PIECE: usize = 16 * 1024;

/// A value of a JSON text that is no list and no object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl fmt::Display for Input<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Bool(value) => value.fmt(formatter),
            Self::Unsigned(value) => value.fmt(formatter),
            Self::Signed(value) => value.fmt(formatter),
            Self::Float(value) => value.fmt(formatter),
            Self::Text(text) => write!(formatter, "the text {:?}", shown(text)),
        }
    }
}

/// Writes a field with this value.
pub(super) fn write_scalar<E: Error>(
    writer: &mut Writer,
    number: u32,
    kind: &Kind,
    input: Input<'_>,
) -> Result<(), E> {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Uint32 | Kind::Uint64 => {
            let value = match kind {
                Kind::Int32 => i64::from(integer::<i32, E>(input)?) as u64,
                Kind::Int64 => integer::<i64, E>(input)? as u64,
                Kind::Sint32 => zigzag(i64::from(integer::<i32, E>(input)?)),
                Kind::Sint64 => zigzag(integer::<i64, E>(input)?),
                Kind::Uint32 => u64::from(integer::<u32, E>(input)?),
                _ => integer::<u64, E>(input)?,
            };
            writer.put_tag(number, WireType::Varint)?;
            writer.put_varint(value)
        }
        Kind::Fixed32 => put_fixed32(writer, number, integer::<u32, E>(input)?.to_le_bytes()),
        Kind::Sfixed32 => put_fixed32(writer, number, integer::<i32, E>(input)?.to_le_bytes()),
        Kind::Fixed64 => put_fixed64(writer, number, integer::<u64, E>(input)?.to_le_bytes()),
        Kind::Sfixed64 => put_fixed64(writer, number, integer::<i64, E>(input)?.to_le_bytes()),
        Kind::Double => put_fixed64(writer, number, float::<E>(input)?.to_le_bytes()),
        Kind::Float => {
            let value = float::<E>(input)?;
            let narrow = value as f32;
            if value.is_finite() && narrow.is_infinite() {
                return Err(E::custom(format_args!("{input} is out of range")));
            }
            put_fixed32(writer, number, narrow.to_le_bytes())
        }
        Kind::Bool => {
            let Input::Bool(value) = input else { return Err(unexpected("true or false", input)) };
            writer.put_tag(number, WireType::Varint)?;
            writer.put_varint(u64::from(value))
        }
        Kind::String => {
            let Input::Text(text) = input else { return Err(unexpected("a text", input)) };
            writer.put_tag(number, WireType::Delimited)?;
            writer.put_varint(text.len() as u64)?;
            writer.put(text.as_bytes())
        }
        Kind::Bytes => {
            let Input::Text(text) = input else {
                return Err(unexpected("a text in base64", input));
            };
            put_bytes(writer, number, text)
        }
        Kind::Enum(enumeration) => {
            let value = match input {
                Input::Text(name) => {
                    enumeration.get_value_by_name(name).map(|value| value.number())
                }
                _ => Some(integer::<i32, E>(input)?),
            };
            let value = value.ok_or_else(|| {
                E::custom(format_args!("{} has no value {input}", enumeration.full_name()))
            })?;
            writer.put_tag(number, WireType::Varint)?;
            writer.put_varint(i64::from(value) as u64)
        }
        Kind::Message(_) => Err(unexpected("an object", input)),
    }
}

fn unexpected<E: Error>(expected: &str, input: Input<'_>) -> E {
    E::custom(format_args!("expected {expected}, found {input}"))
}

fn put_fixed32<E: Error>(writer: &mut Writer, number: u32, bytes: [u8; 4]) -> Result<(), E> {
    writer.put_tag(number, WireType::Fixed32)?;
    writer.put(&bytes)
}

fn put_fixed64<E: Error>(writer: &mut Writer, number: u32, bytes: [u8; 8]) -> Result<(), E> {
    writer.put_tag(number, WireType::Fixed64)?;
    writer.put(&bytes)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// An integer: a number without a fraction, or a text with one.
fn integer<T, E>(input: Input<'_>) -> Result<T, E>
where
    T: FromStr + TryFrom<u64> + TryFrom<i64>,
    E: Error,
{
    let value = match input {
        Input::Unsigned(value) => T::try_from(value).ok(),
        Input::Signed(value) => T::try_from(value).ok(),
        Input::Float(value) => whole(value).and_then(|value| value.to_string().parse().ok()),
        Input::Text(text) => {
            let number = || text.parse::<f64>().ok().and_then(whole);
            text.parse().ok().or_else(|| number()?.to_string().parse().ok())
        }
        Input::Null | Input::Bool(_) => None,
    };
    value.ok_or_else(|| E::custom(format_args!("expected an integer in range, found {input}")))
}

/// The integer of this value. `None` if it has a fraction or is not exact.
fn whole(value: f64) -> Option<i128> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i128)
}

fn float<E: Error>(input: Input<'_>) -> Result<f64, E> {
    let value = match input {
        Input::Unsigned(value) => Some(value as f64),
        Input::Signed(value) => Some(value as f64),
        Input::Float(value) => Some(value),
        Input::Text("NaN") => Some(f64::NAN),
        Input::Text("Infinity") => Some(f64::INFINITY),
        Input::Text("-Infinity") => Some(f64::NEG_INFINITY),
        Input::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        Input::Null | Input::Bool(_) => None,
    };
    value.ok_or_else(|| unexpected("a number", input))
}

/// Writes bytes that are given in base64.
fn put_bytes<E: Error>(writer: &mut Writer, number: u32, text: &str) -> Result<(), E> {
    let text = text.trim_end_matches('=');
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let length = text.len() / 4 * 3 + [0, 0, 1, 2][text.len() % 4];
    writer.put_tag(number, WireType::Delimited)?;
    writer.put_varint(length as u64)?;
    let mut buffer = [0; BASE64_PIECE / 4 * 3];
    for piece in text.as_bytes().chunks(BASE64_PIECE) {
        let decoded = engine
            .decode_slice(piece, &mut buffer)
            .map_err(|_| E::custom("the text is not in base64"))?;
        writer.put(&buffer[..decoded])?;
    }
    Ok(())
}

/// The bytes of a timestamp or a duration.
pub(super) fn message_from_text<E: Error>(
    message_type: &MessageDescriptor,
    input: Input<'_>,
) -> Result<Vec<u8>, E> {
    let (name, example) = match message_type.name() {
        "Timestamp" => ("timestamp", "2026-11-22T18:37:00Z"),
        _ => ("duration", "1.5s"),
    };
    let fault = || E::custom(format_args!("expected a {name} such as {example}, found {input}"));
    let Input::Text(text) = input else { return Err(fault()) };
    if name == "timestamp" {
        let value = prost_types::Timestamp::from_str(text).map_err(|_| fault())?;
        Ok(value.encode_to_vec())
    } else {
        let value = prost_types::Duration::from_str(text).map_err(|_| fault())?;
        Ok(value.encode_to_vec())
    }
}
