//! Proto3 JSON: writes messages and reads requests.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::de::Error as _;

use super::exact_json::{DecodeError, Json, JsonError, Number, Path, read};
use crate::{
    proto,
    replaced::{self, Reason, Replacements, without_unsendable},
};

/// Maximum nesting depth of free-form fields. Their own object is the first level.
pub(super) const MAX_FREE_FORM_DEPTH: usize = 30;

/// A message of this API.
pub trait ApiMessage: Message + Default {
    /// The name within the package, such as `ExportEvent`.
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
    Batch,
    BatchItem,
    BatchStartExportsRequest,
    BatchStartExportsResponse,
    CheckStorageResponse,
    CreateDownloadLinkResponse,
    Event,
    Export,
    ExportEvent,
    GetBatchResponse,
    GetExportResponse,
    GetReportResponse,
    JobRun,
    ListEventsResponse,
    ListExportsResponse,
    ListJobsResponse,
    ListTargetsResponse,
    PreviewExportRequest,
    PreviewExportResponse,
    Report,
    RetryEventsResponse,
    StartExportRequest,
    TestTargetResponse,
    WatchBatchResponse,
);

/// Writes the message in canonical proto3 JSON, on one line without a line break: lowerCamelCase
/// names, 64-bit integers as strings, enum values by name, without fields that have their default
/// value.
pub fn to_json<M: ApiMessage>(message: &M) -> String {
    to_text(message, serde_json::to_string)
}

/// As [`to_json`], but indented.
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
    // Fails only for a timestamp that RFC 3339 cannot represent.
    write(&message)
        .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string())
}

/// Reads a request from proto3 JSON, the format of `grpcurl -d @`.
///
/// # Errors
/// The text is not JSON, or has an unknown field or a value of the wrong type.
pub fn request_from_json(text: impl AsRef<[u8]>) -> Result<proto::StartExportRequest, JsonError> {
    read_request(text.as_ref()).map(|(request, _)| request)
}

/// As [`request_from_json`], with a human-readable warning for each replaced value.
pub(super) fn read_request(
    text: &[u8],
) -> Result<(proto::StartExportRequest, Vec<String>), JsonError> {
    let mut replaced = Replacements::default();
    let json = read(text, &mut replaced, |_, _| true)?;
    let json = sendable(json, &Path::Top, FieldKind::Message, &mut replaced);
    let mut request: proto::StartExportRequest =
        from_json(&json).map_err(DecodeError::into_json_error)?;
    let warnings: Vec<String> = replaced.warnings().collect();
    if !warnings.is_empty() {
        let review = request.review.get_or_insert_default();
        let mut list = std::mem::take(&mut review.replacements);
        replaced.append_to(&mut list, |path| replaced::of_request(path, review));
        review.replacements = list;
    }
    Ok((request, warnings))
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

/// How a request's value is converted.
#[derive(Clone, Copy)]
enum FieldKind {
    /// A message's field, or a list of messages.
    Message,
    /// A feedback item, or a list of them.
    Item,
    /// A `google.protobuf.Struct`.
    FreeForm,
    /// A list of `google.protobuf.Struct`.
    FreeFormList,
}

impl FieldKind {
    /// The kind of the field `key`. A key in the wrong message is rejected later.
    fn of_field(key: &str) -> Self {
        match key {
            "items" => Self::Item,
            "additionalFields" | "additional_fields" => Self::FreeForm,
            "performanceMetrics" | "performance_metrics" => Self::FreeForm,
            "activityLog" | "activity_log" | "chatHistory" | "chat_history" | "auditLogs"
            | "audit_logs" | "activityTimeline" | "activity_timeline" => Self::FreeFormList,
            _ => Self::Message,
        }
    }
}

/// Replaces what a request cannot have.
fn sendable(json: Json, path: &Path<'_>, kind: FieldKind, replaced: &mut Replacements) -> Json {
    match (json, kind) {
        (json, FieldKind::FreeForm) => without_unsendable(json, path, 1, replaced),
        (Json::Array(elements), kind) => {
            let kind = match kind {
                FieldKind::FreeFormList => FieldKind::FreeForm,
                kind => kind,
            };
            let elements = elements.into_iter().enumerate();
            let sendable = elements
                .map(|(index, element)| sendable(element, &path.index(index), kind, replaced));
            Json::Array(sendable.collect())
        }
        (Json::Object(mut entries), kind) => {
            if matches!(kind, FieldKind::Item) {
                move_unsendable_fields(&mut entries);
            }
            let sendable = entries.into_iter().map(|(key, value)| {
                let value = sendable(value, &path.key(&key), FieldKind::of_field(&key), replaced);
                (key, value)
            });
            Json::Object(sendable.collect())
        }
        (Json::Number(Number::NotFinite(name)), _) => {
            replaced.add(path, Reason::NotFinite);
            Json::String(name.to_owned())
        }
        (json, _) => json,
    }
}

/// Moves known keys of an item to its free-form fields if their fields cannot have the numbers.
fn move_unsendable_fields(entries: &mut Vec<(String, Json)>) {
    let not_finite = |text: &str| match text {
        "NaN" => Some("NaN"),
        "Infinity" => Some("Infinity"),
        "-Infinity" => Some("-Infinity"),
        _ => None,
    };
    let mut moved = Vec::new();
    entries.retain_mut(|(key, value)| {
        let is_unsendable = match (key.as_str(), &*value) {
            ("confidence", Json::Number(number)) => number.as_double().is_err(),
            // The texts of proto3 JSON for these numbers.
            ("confidence", Json::String(text)) => match not_finite(text) {
                Some(name) => {
                    *value = Json::Number(Number::NotFinite(name));
                    true
                }
                None => false,
            },
            ("hawkeyeRefs" | "hawkeye_refs", Json::Array(elements)) => elements.iter().any(|element| {
                matches!(element, Json::Number(number) if !matches!(number, Number::Integer(_)))
            }),
            _ => return true,
        };
        if is_unsendable {
            let key = if key == "hawkeyeRefs" { "hawkeye_refs" } else { key.as_str() };
            moved.push((key.to_owned(), std::mem::replace(value, Json::Null)));
        }
        !is_unsendable
    });
    if moved.is_empty() {
        return;
    }
    let is_additional = |key: &str| matches!(key, "additionalFields" | "additional_fields");
    match entries.iter_mut().find(|(key, _)| is_additional(key)) {
        Some((_, Json::Object(fields))) => fields.extend(moved),
        Some((_, value @ Json::Null)) => *value = Json::Object(moved),
        // Another value is rejected later.
        Some(_) => {}
        None => entries.push(("additionalFields".to_owned(), Json::Object(moved))),
    }
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
    fn field_names_are_accepted_in_both_spellings() {
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
    fn checklist_references_are_exact_64_bit_integers() {
        for references in [format!("[{BIG},7]"), format!(r#"["{BIG}","7"]"#)] {
            for key in ["hawkeyeRefs", "hawkeye_refs"] {
                let request =
                    request_from_json(with_item(&format!(r#"{{"{key}":{references}}}"#))).unwrap();
                let item = FeedbackItem {
                    hawkeye_refs: vec![BIG.parse().unwrap(), 7],
                    ..Default::default()
                };
                let section = FeedbackSection { name: "S".to_owned(), items: vec![item] };
                assert_eq!(request.review.unwrap().suggestions, [section]);
            }
        }
    }

    #[test]
    fn unknown_fields_and_values_are_rejected_with_their_path() {
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
}
