//! The messages of `google.protobuf` that have a form of their own in JSON.

use prost_reflect::MessageDescriptor;

/// The form of a message in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WellKnown {
    /// An object with its fields.
    None,
    Struct,
    List,
    Value,
    /// A timestamp or a duration.
    Text,
    /// The message has one field, `value`, whose JSON it has.
    Wrapper,
    /// Not supported in JSON.
    Other,
}

/// The form of this message.
pub(super) fn well_known(message_type: &MessageDescriptor) -> WellKnown {
    let name = message_type.full_name().strip_prefix("google.protobuf.");
    match name.unwrap_or_default() {
        "Struct" => WellKnown::Struct,
        "ListValue" => WellKnown::List,
        "Value" => WellKnown::Value,
        "Timestamp" | "Duration" => WellKnown::Text,
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
        | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => WellKnown::Wrapper,
        "Any" | "FieldMask" => WellKnown::Other,
        _ => WellKnown::None,
    }
}

/// The brackets of a list or an object of free values.
pub(super) fn brackets(container: &MessageDescriptor) -> [u8; 2] {
    if well_known(container) == WellKnown::List { *b"[]" } else { *b"{}" }
}
