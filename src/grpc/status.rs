//! Errors as gRPC statuses: the one table, and the `google.rpc` details every status carries.

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    auth::Role,
    bundle::ExportId,
    catalog::{LinkError, ReadError},
    export::{DocumentProblem, FailureReason, JournalErrorKind, NoRoom, Overloaded, StartError},
    store::StoreError,
    telemetry::names::{self, NONE},
    upload::UploadError,
};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "tara.export.v1";

/// A pause after which trying again makes sense.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Violations' texts a status carries: it travels in HTTP headers, which clients limit to some
/// 16 KiB, and base64 adds a third.
const VIOLATIONS_LIMIT_BYTES: usize = 6 * 1024;
/// Longest text that a status repeats whole: a caller's own keys and values stand in some, and
/// headers write each of their bytes as three.
const TEXT_LIMIT_BYTES: usize = 1024;

/// The reason of what does not arrive in time.
pub(super) const REQUEST_TOO_SLOW: &str = "REQUEST_TOO_SLOW";
/// The reason of what is refused for its size.
pub(super) const REQUEST_TOO_LARGE: &str = "REQUEST_TOO_LARGE";

/// The table: what a failure's reason means for the caller.
fn code_of(reason: FailureReason) -> Code {
    match reason {
        // Trying again may help.
        FailureReason::StoreUnavailable => Code::Unavailable,
        // An operator must act first. Not PERMISSION_DENIED: it is not the caller who was refused.
        FailureReason::StoreDenied
        | FailureReason::StoreMisconfigured
        | FailureReason::StoreUnsafe => Code::FailedPrecondition,
        FailureReason::LocalStoreFull => Code::ResourceExhausted,
        FailureReason::DataLoss => Code::DataLoss,
        FailureReason::RequestIdReused => Code::AlreadyExists,
        // Another document, or another object, must be named.
        FailureReason::SourceLost => Code::FailedPrecondition,
        FailureReason::Internal => Code::Internal,
    }
}

/// A status with an ErrorInfo, and a RetryInfo where waiting helps.
pub(super) fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    with_metadata(code, reason, message, [])
}

fn with_metadata<const N: usize>(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: [(&str, String); N],
) -> Status {
    let message = shortened(message.into());
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    // A request does not become smaller by waiting.
    let waiting_helps =
        reason != REQUEST_TOO_LARGE && matches!(code, Code::Unavailable | Code::ResourceExhausted);
    if waiting_helps {
        details.set_retry_info(Some(RETRY_DELAY));
    }
    Status::with_error_details(code, message, details)
}

/// The status that ends the stream of a failed export, and that refuses one.
pub(super) fn failed(reason: FailureReason, message: &str) -> Status {
    status(code_of(reason), reason.as_str(), message)
}

/// A fault of this program, without its details: those are in the log.
pub fn internal_fault() -> Status {
    failed(FailureReason::Internal, "a fault of this server: its log says more")
}

/// A request's faults, each with its field: as many as a status carries, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Violations {
    shown: Vec<(String, String)>,
    shown_bytes: usize,
    total: usize,
}

impl Violations {
    /// Adds a fault of a field, named as in the proto. Beyond what a status carries it is only counted, and
    /// the field is not even written out.
    pub(super) fn add(&mut self, field: impl fmt::Display, description: impl fmt::Display) {
        self.total += 1;
        if self.shown_bytes > VIOLATIONS_LIMIT_BYTES {
            return;
        }
        let (field, description) = (Shortened::of(field), Shortened::of(description));
        self.shown_bytes += field.len() + description.len();
        // The first is always shown.
        if self.shown_bytes <= VIOLATIONS_LIMIT_BYTES || self.shown.is_empty() {
            self.shown.push((field, description));
        }
    }

    /// The value, unless there are faults.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, Status> {
        if self.total == 0 { Ok(value) } else { Err(self.into_status()) }
    }

    /// INVALID_ARGUMENT with every fault, as far as a status can carry them.
    pub(super) fn into_status(self) -> Status {
        let Self { shown, total, .. } = self;
        let mut details = ErrorDetails::with_error_info("INVALID_REQUEST", DOMAIN, HashMap::new());
        for (field, description) in &shown {
            details.add_bad_request_violation(field, description);
        }
        if shown.len() < total {
            let rest = format!("and {} more fields are wrong", total - shown.len());
            details.add_bad_request_violation("", rest);
        }
        let first = shown.first().map(|(field, description)| format!("{field}: {description}"));
        let message = match (first, total) {
            (Some(first), 1) => shortened(first),
            (Some(first), _) => {
                let rest = format!(" (and {} more: see the BadRequest details)", total - 1);
                shortened(first) + &rest
            }
            (None, _) => String::new(),
        };
        Status::with_error_details(Code::InvalidArgument, message, details)
    }
}

/// A text that is cut while it is written: what is written may be as long as a request.
#[derive(Default)]
struct Shortened(String);

impl Shortened {
    fn of(text: impl fmt::Display) -> String {
        use fmt::Write as _;

        let mut shortened = Self::default();
        // Fails only where it is cut.
        let is_whole = write!(shortened, "{text}").is_ok();
        if !is_whole {
            shortened.0.push('…');
        }
        shortened.0
    }
}

impl fmt::Write for Shortened {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_LIMIT_BYTES - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Err(fmt::Error)
    }
}

/// The text, cut where it is too long for a header.
fn shortened(mut text: String) -> String {
    if text.len() > TEXT_LIMIT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_LIMIT_BYTES));
        text.push('…');
    }
    text
}

/// INVALID_ARGUMENT because of one field.
pub(super) fn invalid(field: &str, description: impl fmt::Display) -> Status {
    let mut violations = Violations::default();
    violations.add(field, description);
    violations.into_status()
}

/// Nothing is known of the export.
pub(super) fn export_not_found(export_id: ExportId) -> Status {
    let message = format!("exports/{export_id} is not known here");
    status(Code::NotFound, "EXPORT_NOT_FOUND", message)
}

/// The caller is known, and may not do this.
pub(super) fn role_missing(method: &str, roles: &[Role]) -> Status {
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let names = names.join(" or ");
    let message = format!("{method} needs the role {names}");
    let metadata = [("role", names)];
    with_metadata(Code::PermissionDenied, "ROLE_MISSING", message, metadata)
}

/// All places of this setting are in use, also after a while.
pub(super) fn overloaded(setting: &str, message: impl Into<String>) -> Status {
    let metadata = [("setting", setting.to_owned())];
    with_metadata(Code::ResourceExhausted, "OVERLOADED", message, metadata)
}

/// The stream ends before the export does.
pub(super) fn stream_ended_early(message: &str) -> Status {
    status(Code::Unavailable, "STREAM_ENDED_EARLY", message)
}

impl From<StartError> for Status {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match error {
            StartError::RequestIdReused { first } => {
                let reason = FailureReason::RequestIdReused;
                let metadata = [("export", format!("exports/{first}"))];
                with_metadata(code_of(reason), reason.as_str(), message, metadata)
            }
            StartError::NoBucket => status(Code::FailedPrecondition, "NO_BUCKET", message),
            StartError::Overloaded(error) => error.into(),
            StartError::ReadOnly => status(Code::FailedPrecondition, "READ_ONLY", message),
            StartError::Journal { kind, .. } => match kind {
                JournalErrorKind::Full => {
                    status(Code::ResourceExhausted, "LOCAL_STORE_FULL", message)
                }
                JournalErrorKind::Unavailable => {
                    status(Code::Unavailable, "JOURNAL_UNAVAILABLE", message)
                }
                // An operator must look before this id can be used here.
                JournalErrorKind::Conflict | JournalErrorKind::Unreadable => {
                    status(Code::FailedPrecondition, "JOURNAL_UNREADABLE", message)
                }
            },
            StartError::Moving => status(Code::Unavailable, "EXPORT_MOVING", message),
            StartError::ShuttingDown => status(Code::Unavailable, "SHUTTING_DOWN", message),
            StartError::Store { reason, .. } => failed(reason, &message),
            StartError::Document { number, problem } => document_status(number, problem),
            StartError::Internal => failed(FailureReason::Internal, &message),
        }
    }
}

/// A document that a request names can't be used: the field that names it is told.
fn document_status(number: usize, problem: DocumentProblem) -> Status {
    let field = match &problem {
        DocumentProblem::Upload(UploadError::NotFound { .. } | UploadError::NotFinished { .. }) => {
            "upload"
        }
        DocumentProblem::Upload(error) => return error.clone().into(),
        DocumentProblem::NotAllowed { .. } | DocumentProblem::NotFound { .. } => "s3.uri",
        DocumentProblem::TooLarge { field, .. } => field,
        DocumentProblem::OtherDigest { .. } => "sha256",
    };
    let code = match &problem {
        DocumentProblem::Upload(UploadError::NotFound { .. }) => {
            Some((Code::NotFound, "UPLOAD_NOT_FOUND"))
        }
        DocumentProblem::Upload(_) => Some((Code::FailedPrecondition, "UPLOAD_NOT_FINISHED")),
        DocumentProblem::NotAllowed { .. } => Some((Code::PermissionDenied, "SOURCE_NOT_ALLOWED")),
        DocumentProblem::NotFound { .. } => Some((Code::NotFound, "SOURCE_NOT_FOUND")),
        DocumentProblem::TooLarge { .. } | DocumentProblem::OtherDigest { .. } => None,
    };
    let field = format!("documents[{number}].{field}");
    match code {
        Some((code, reason)) => {
            let message = format!("{field}: {problem}");
            with_metadata(code, reason, message, [("field", field)])
        }
        None => invalid(&field, problem.to_string()),
    }
}

impl From<UploadError> for Status {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::TooLarge { .. } => invalid("size_bytes", message),
            UploadError::DiskFull { .. } => {
                status(Code::ResourceExhausted, "LOCAL_STORE_FULL", message)
            }
            UploadError::IdReused { .. } => {
                status(Code::AlreadyExists, "UPLOAD_ID_REUSED", message)
            }
            UploadError::NotFound { .. } => status(Code::NotFound, "UPLOAD_NOT_FOUND", message),
            UploadError::NotFinished { .. } => {
                status(Code::FailedPrecondition, "UPLOAD_NOT_FINISHED", message)
            }
            UploadError::WrongOffset { committed_size_bytes, .. } => {
                let metadata = [("committed_size_bytes", committed_size_bytes.to_string())];
                with_metadata(Code::FailedPrecondition, "UPLOAD_OFFSET", message, metadata)
            }
            UploadError::WrongChunk { .. } | UploadError::WrongSize { .. } => {
                invalid("data", message)
            }
            // Not to be gone on with: a new upload is.
            UploadError::OtherDigest { .. } | UploadError::OtherBytes { .. } => {
                status(Code::Aborted, "UPLOAD_ABORTED", message)
            }
            UploadError::BrokeOff { .. } => status(Code::Unavailable, "UPLOAD_BROKE_OFF", message),
            UploadError::Overloaded { .. } => {
                let metadata = [("setting", "MAX_CONCURRENT_UPLOADS".to_owned())];
                with_metadata(Code::ResourceExhausted, "OVERLOADED", message, metadata)
            }
            UploadError::Store(error) => {
                tracing::warn!(%error, "a store failed while it took an upload");
                failed(FailureReason::from(&*error), &message)
            }
        }
    }
}

impl From<Overloaded> for Status {
    fn from(error: Overloaded) -> Self {
        let metadata = [("setting", error.setting.to_owned())];
        with_metadata(Code::ResourceExhausted, "OVERLOADED", error.to_string(), metadata)
    }
}

impl From<NoRoom> for Status {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Overloaded(error) => error.into(),
            NoRoom::TooLarge { .. } => {
                let metadata = [("setting", "MAX_REQUEST_MEMORY".to_owned())];
                let message = error.to_string();
                with_metadata(Code::ResourceExhausted, REQUEST_TOO_LARGE, message, metadata)
            }
        }
    }
}

impl From<ReadError> for Status {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::DataLoss { .. } => {
                names::DATA_LOSS.add(1, NONE);
                tracing::error!(error = message, "data loss");
                failed(FailureReason::DataLoss, &message)
            }
            ReadError::NoSuchArtifact { .. } => {
                status(Code::NotFound, "ARTIFACT_NOT_FOUND", message)
            }
        }
    }
}

impl From<LinkError> for Status {
    fn from(error: LinkError) -> Self {
        let message = error.to_string();
        match error {
            LinkError::Read(error) => error.into(),
            LinkError::StoredLocally { .. } => {
                status(Code::FailedPrecondition, "STORED_LOCALLY", message)
            }
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a store failed while reading");
        failed(FailureReason::from(&error), &error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_status_carries_one_error_info_and_waits_where_waiting_helps() {
        let overloaded = Overloaded { limit: "x".to_owned(), setting: "MAX_CONCURRENT_EXPORTS" };
        let first = ExportId::new(uuid::Uuid::nil());
        for (error, code, reason, waits) in [
            (
                StartError::RequestIdReused { first },
                Code::AlreadyExists,
                "REQUEST_ID_REUSED",
                false,
            ),
            (StartError::NoBucket, Code::FailedPrecondition, "NO_BUCKET", false),
            (StartError::Overloaded(overloaded), Code::ResourceExhausted, "OVERLOADED", true),
            (StartError::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN", true),
            (StartError::Internal, Code::Internal, "INTERNAL", false),
        ] {
            let status = Status::from(error);
            let details = status.get_error_details();
            assert_eq!(status.code(), code);
            assert_eq!(details.error_info().unwrap().reason, reason);
            assert_eq!(details.error_info().unwrap().domain, DOMAIN);
            assert_eq!(details.retry_info().is_some(), waits);
        }
    }

    #[test]
    fn a_flood_of_violations_fits_into_a_status() {
        let mut violations = Violations::default();
        for number in 0..10_000 {
            violations.add(format!("review.suggestions[{number}].name"), "is there twice");
        }
        let status = violations.into_status();
        assert!(status.details().len() < 12 * 1024);
        let details = status.get_error_details();
        let shown = &details.bad_request().unwrap().field_violations;
        assert!(shown.len() > 50);
        assert!(shown.last().unwrap().description.contains("more fields are wrong"));
        assert!(status.message().contains("and 9999 more"));
    }
}
