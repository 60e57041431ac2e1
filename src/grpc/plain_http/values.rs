//! Writes single values of a message as JSON (protobuf's JSON mapping).

use prost::Message as _;
use prost_reflect::{Kind, MessageDescriptor};

use super::{
    well_known::{WellKnown, brackets, well_known},
    wire::{Malformed, WireType},
};

/// How values of this kind are encoded.
pub(super) fn wire_type_of(kind: &Kind) -> WireType {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::Fixed64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::Fixed32,
        Kind::String | Kind::Bytes | Kind::Message(_) => WireType::Delimited,
        _ => WireType::Varint,
    }
}

/// Writes a text in quotes.
pub(super) fn write_text(output: &mut Vec<u8>, text: &str) -> Result<(), Malformed> {
    serde_json::to_writer(output, text).map_err(|_| Malformed)
}

/// Writes the key of an entry that is not a text, or an empty one.
pub(super) fn write_key(output: &mut Vec<u8>, kind: &Kind, value: u64) -> Result<(), Malformed> {
    let mut key = Vec::new();
    match kind {
        Kind::String => {}
        _ => write_scalar(&mut key, kind, value)?,
    }
    let key: Vec<u8> = key.into_iter().filter(|byte| *byte != b'"').collect();
    output.push(b'"');
    output.extend_from_slice(&key);
    output.extend_from_slice(b"\":");
    Ok(())
}

/// Writes a value that an entry of a map omits.
pub(super) fn write_default(output: &mut Vec<u8>, kind: &Kind) -> Result<(), Malformed> {
    match kind {
        Kind::String | Kind::Bytes => output.extend_from_slice(b"\"\""),
        Kind::Message(message) => match well_known(message) {
            WellKnown::Value | WellKnown::Wrapper => write_unset(output, message)?,
            WellKnown::Struct | WellKnown::List => output.extend_from_slice(&brackets(message)),
            WellKnown::Text => write_time(output, message, &[])?,
            WellKnown::None | WellKnown::Other => output.extend_from_slice(b"{}"),
        },
        _ => write_scalar(output, kind, 0)?,
    }
    Ok(())
}

/// Writes a free value or a wrapper whose field is not set.
pub(super) fn write_unset(
    output: &mut Vec<u8>,
    message: &MessageDescriptor,
) -> Result<(), Malformed> {
    match message.get_field(1) {
        Some(field) if well_known(message) == WellKnown::Wrapper => {
            write_default(output, &field.kind())
        }
        _ => {
            output.extend_from_slice(b"null");
            Ok(())
        }
    }
}

/// Writes a number, a boolean or an enum's value. The value is a varint or the bytes of a fixed number.
pub(super) fn write_scalar(output: &mut Vec<u8>, kind: &Kind, value: u64) -> Result<(), Malformed> {
    let text = match kind {
        Kind::Bool => (value != 0).to_string(),
        Kind::Int32 | Kind::Sfixed32 => (value as i32).to_string(),
        Kind::Uint32 | Kind::Fixed32 => (value as u32).to_string(),
        Kind::Sint32 => (unzigzag(value) as i32).to_string(),
        // Numbers in JSON are doubles for most readers.
        Kind::Int64 | Kind::Sfixed64 => format!("\"{}\"", value as i64),
        Kind::Uint64 | Kind::Fixed64 => format!("\"{value}\""),
        Kind::Sint64 => format!("\"{}\"", unzigzag(value)),
        Kind::Double => float_text(f64::from_bits(value)),
        Kind::Float => float_text_of_single(f32::from_bits(value as u32)),
        Kind::Enum(enumeration) => match enumeration.get_value(value as i32) {
            Some(value) => format!("\"{}\"", value.name()),
            None => (value as i32).to_string(),
        },
        Kind::String | Kind::Bytes | Kind::Message(_) => return Err(Malformed),
    };
    // google.protobuf.NullValue.
    let is_null = matches!(kind, Kind::Enum(enumeration)
        if enumeration.full_name() == "google.protobuf.NullValue");
    output.extend_from_slice(if is_null { b"null" } else { text.as_bytes() });
    Ok(())
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn float_text(value: f64) -> String {
    const EXACT: f64 = (1_u64 << 53) as f64;
    if value.is_nan() {
        "\"NaN\"".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }.to_owned()
    } else if value.fract() == 0.0
        && value.abs() <= EXACT
        && !(value == 0.0 && value.is_sign_negative())
    {
        (value as i64).to_string()
    } else {
        serde_json::Number::from_f64(value).map_or_else(String::new, |number| number.to_string())
    }
}

fn float_text_of_single(value: f32) -> String {
    if value.is_finite() { value.to_string() } else { float_text(f64::from(value)) }
}

/// Writes a timestamp or a duration.
pub(super) fn write_time(
    output: &mut Vec<u8>,
    message: &MessageDescriptor,
    bytes: &[u8],
) -> Result<(), Malformed> {
    let text = if message.name() == "Timestamp" {
        prost_types::Timestamp::decode(bytes).map_err(|_| Malformed)?.to_string()
    } else {
        prost_types::Duration::decode(bytes).map_err(|_| Malformed)?.to_string()
    };
    write_text(output, &text)
}
