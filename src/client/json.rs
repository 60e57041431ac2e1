//! Proto3 JSON: any message as one line, and a request read from a file.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::de::Error as _;

use super::exact_json::{DecodeError, Json, JsonError, Path, read};
use crate::proto;

/// Free fields may be nested this deep, their own object being the first level.
pub(super) const MAX_FREE_DEPTH: usize = 30;

/// A message of this API.
pub trait ApiMessage: Message + Default {
    /// Its name within the package, such as `ExportEvent`.
    const NAME: &'static str;
}

macro_rules! api_messages {
    ($($name:ident),+ $(,)?) => {
        $(impl ApiMessage for proto::$name {
            const NAME: &'static str = stringify!($name);
        })+
    };
}

api_messages!(
    CheckStorageResponse,
    Export,
    ExportEvent,
    GetExportResponse,
    GetReportResponse,
    ListExportsResponse,
    PreviewExportRequest,
    PreviewExportResponse,
    Report,
    StartExportRequest,
);

/// The message in canonical proto3 JSON, on one line without its end: lowerCamelCase names, 64-bit
/// integers as strings, enum values by name, fields with their default value left out.
pub fn to_json<M: ApiMessage>(message: &M) -> String {
    to_text(message, serde_json::to_string)
}

/// As [`to_json`], indented, on many lines.
pub fn to_json_pretty<M: ApiMessage>(message: &M) -> String {
    to_text(message, serde_json::to_string_pretty)
}

fn to_text<M: ApiMessage>(
    message: &M,
    write: fn(&DynamicMessage) -> serde_json::Result<String>,
) -> String {
    let bytes = message.encode_to_vec();
    #[allow(clippy::expect_used, reason = "generated code and descriptor have the same source")]
    let message = DynamicMessage::decode(descriptor::<M>(), bytes.as_slice())
        .expect("a message decodes under its own descriptor");
    // Only a timestamp that RFC 3339 has no form for can't be written.
    write(&message)
        .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string())
}

/// A request from proto3 JSON, as the file of `grpcurl -d @` holds it.
///
/// # Errors
/// Where the text is no JSON, has a field that the request has not, a value of the wrong type, or
/// an integer that a double would round.
pub fn request_from_json(text: &str) -> Result<proto::StartExportRequest, JsonError> {
    let json = read(text)?;
    check_exactness(&json, &Path::Top, Place::Message)?;
    from_json(&json).map_err(DecodeError::into_json_error)
}

fn from_json<M: ApiMessage>(json: &Json) -> Result<M, DecodeError> {
    let message = DynamicMessage::deserialize(descriptor::<M>(), json)?;
    M::decode(message.encode_to_vec().as_slice()).map_err(DecodeError::custom)
}

fn descriptor<M: ApiMessage>() -> MessageDescriptor {
    #[allow(clippy::expect_used, reason = "the build wrote this descriptor set")]
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET)
            .expect("the build's descriptor set is well formed")
    });
    #[allow(clippy::expect_used, reason = "the macro above takes its names from the same protos")]
    POOL.get_message_by_name(&format!("tara.export.v1.{}", M::NAME))
        .expect("every message with generated code has a descriptor")
}

/// What a value of a request is, as far as its numbers are concerned.
#[derive(Clone, Copy)]
enum Place {
    /// A message's field, or a list of messages.
    Message,
    /// A list of 64-bit integers.
    Integers,
    /// A `google.protobuf.Struct` or what is in it, with the levels above it.
    Free(usize),
    /// A list of `google.protobuf.Struct`.
    FreeList,
}

impl Place {
    /// What stands under `key` of a message. A key in the wrong message is refused later.
    fn of_field(key: &str) -> Self {
        match key {
            "hawkeyeRefs" | "hawkeye_refs" => Self::Integers,
            "additionalFields" | "additional_fields" => Self::Free(0),
            "performanceMetrics" | "performance_metrics" => Self::Free(0),
            "activityLog" | "activity_log" | "chatHistory" | "chat_history" | "auditLogs"
            | "audit_logs" | "activityTimeline" | "activity_timeline" => Self::FreeList,
            _ => Self::Message,
        }
    }
}

/// Refuses integers that become doubles and would be rounded, and free fields nested too deep.
fn check_exactness(json: &Json, path: &Path<'_>, place: Place) -> Result<(), JsonError> {
    if let (Json::Array(_) | Json::Object(_), Place::Free(MAX_FREE_DEPTH)) = (json, place) {
        return Err(too_deep(path));
    }
    match json {
        Json::Number(_) if matches!(place, Place::Integers) => Ok(()),
        Json::Number(number) => match number.as_double() {
            Ok(_) => Ok(()),
            Err(digits) => Err(JsonError::rounded(path, &digits)),
        },
        Json::Array(elements) => {
            let place = match place {
                Place::Free(level) => Place::Free(level + 1),
                Place::FreeList => Place::Free(0),
                Place::Message | Place::Integers => place,
            };
            elements.iter().enumerate().try_for_each(|(index, element)| {
                check_exactness(element, &path.index(index), place)
            })
        }
        Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            let place = match place {
                Place::Free(level) => Place::Free(level + 1),
                _ => Place::of_field(key),
            };
            check_exactness(value, &path.key(key), place)
        }),
        Json::Null | Json::Bool(_) | Json::String(_) => Ok(()),
    }
}

/// Free fields at `path` go deeper than the server takes.
pub(super) fn too_deep(path: &Path<'_>) -> JsonError {
    JsonError::at(path, format!("is nested deeper than {MAX_FREE_DEPTH} levels"))
}
