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
    CreateDownloadLinkResponse,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proto::{FeedbackItem, FeedbackSection, Review, StartExportRequest};

    const BIG: &str = "9007199254740993";

    fn error(text: &str) -> String {
        request_from_json(text).unwrap_err().to_string()
    }

    fn with_item(item: &str) -> String {
        format!(r#"{{"review":{{"suggestions":[{{"name":"S","items":[{item}]}}]}}}}"#)
    }

    #[test]
    fn names_are_taken_in_both_spellings() {
        let expected = StartExportRequest {
            request_id: "1".to_owned(),
            review: Some(Review { document_name: "ä".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        for text in [
            r#"{"requestId":"1","review":{"documentName":"ä"}}"#,
            r#"{"request_id":"1","review":{"document_name":"ä","reviewer":null}}"#,
        ] {
            assert_eq!(request_from_json(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(to_json(&expected), r#"{"requestId":"1","review":{"documentName":"ä"}}"#);
    }

    #[test]
    fn checklist_references_are_whole_64_bit_integers() {
        for references in [format!("[{BIG},7]"), format!(r#"["{BIG}","7"]"#)] {
            for key in ["hawkeyeRefs", "hawkeye_refs"] {
                let request =
                    request_from_json(&with_item(&format!(r#"{{"{key}":{references}}}"#))).unwrap();
                let item = FeedbackItem {
                    hawkeye_refs: vec![BIG.parse().unwrap(), 7],
                    ..Default::default()
                };
                let section = FeedbackSection { name: "S".to_owned(), items: vec![item] };
                assert_eq!(request.review.unwrap().suggestions, [section]);
            }
        }
        assert_eq!(
            error(&with_item(r#"{"hawkeyeRefs":[1,9223372036854775808]}"#)),
            "review.suggestions[0].items[0].hawkeyeRefs[1]: the integer 9223372036854775808 is too large"
        );
    }

    #[test]
    fn integers_that_would_be_rounded_are_refused_with_their_path() {
        let item = "review.suggestions[0].items[0]";
        for (text, path) in [
            (with_item(&format!(r#"{{"confidence":{BIG}}}"#)), format!("{item}.confidence")),
            (
                with_item(&format!(r#"{{"additionalFields":{{"hawkeyeRefs":[{BIG}]}}}}"#)),
                format!("{item}.additionalFields.hawkeyeRefs[0]"),
            ),
            (
                format!(r#"{{"review":{{"chatHistory":[{{"hawkeye_refs":[{BIG}]}}]}}}}"#),
                "review.chatHistory[0].hawkeye_refs[0]".to_owned(),
            ),
            (
                format!(r#"{{"review":{{"performance_metrics":{{"a":-{BIG}}}}}}}"#),
                "review.performance_metrics.a".to_owned(),
            ),
        ] {
            let message = error(&text);
            assert!(message.starts_with(&format!("{path}: the integer ")), "{message}");
            assert!(message.contains("would be rounded"), "{message}");
        }
    }

    #[test]
    fn what_the_request_has_not_is_named() {
        assert_eq!(
            error(&with_item(r#"{"colour":"red"}"#)),
            "review.suggestions[0].items[0]: unrecognized field name 'colour'"
        );
        assert_eq!(
            error(r#"{"documents":[{"kind":"KIND_X"}]}"#).find("documents[0].kind"),
            Some(0)
        );
        assert_eq!(
            error(r#"{"documents":[{"content":"?"}]}"#).find("documents[0].content"),
            Some(0)
        );
        assert_eq!(error(r#"{"review":{"reviewer":1}}"#).find("review.reviewer"), Some(0));
    }

    #[test]
    fn free_fields_may_be_thirty_levels_deep() {
        let nested = |levels: usize| {
            let value = format!("{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
            (
                with_item(&format!(r#"{{"additionalFields":{{"w":{value}}}}}"#)),
                format!(r#"{{"review":{{"auditLogs":[{{"w":{value}}}]}}}}"#),
            )
        };
        let (field, log) = nested(30);
        assert!(request_from_json(&field).is_ok() && request_from_json(&log).is_ok());
        let (field, log) = nested(31);
        for (text, path) in [
            (field, "review.suggestions[0].items[0].additionalFields.w[0]"),
            (log, "review.auditLogs[0].w[0]"),
        ] {
            let message = error(&text);
            assert!(message.starts_with(path), "{message}");
            assert!(message.ends_with("is nested deeper than 30 levels"), "{message}");
        }
    }
}
