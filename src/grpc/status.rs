//! Errors as gRPC statuses: the table of codes, and the `google.rpc` details of every status.

use std::{collections::HashMap, fmt, time::Duration};

use tara_export_auth::Role;
use tara_export_bundle::ExportId;
use tara_export_catalog::{LinkError, ReadError};
use tara_export_disk::DiskErrorKind;
use tara_export_store::StoreError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use uuid::Uuid;

use super::error_size::{
    MESSAGE_LIMIT_BYTES, OMITTED, encoded_bytes, omitted_text, short, shortened,
};
use crate::{
    batch::BatchError,
    export::{
        AdmissionError, DocumentProblem, FailureReason, JournalErrorKind, Overloaded, StartError,
    },
    upload::UploadError,
};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "tara.export.v1";

/// The delay after which callers should retry.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The violation texts that are kept for a status. The layer [`limit_errors`](super::limit_errors) sends those that fit
/// into headers.
const VIOLATIONS_LIMIT_BYTES: usize = 6 * 1024;
/// The longest text in a status. Some texts contain a caller's keys and values.
const TEXT_LIMIT_BYTES: usize = 1024;

/// The reason if a limit on concurrent work is reached.
pub(super) const OVERLOADED: &str = "OVERLOADED";
/// The reason if a request does not arrive in time.
pub(super) const REQUEST_TOO_SLOW: &str = "REQUEST_TOO_SLOW";
/// The reason if a request is refused because of its size.
pub(super) const REQUEST_TOO_LARGE: &str = "REQUEST_TOO_LARGE";

/// The table of codes for the reasons of failures.
fn code_of(reason: FailureReason) -> Code {
    match reason {
        // A retry may succeed.
        FailureReason::StoreUnavailable => Code::Unavailable,
        // An operator must act first. Not PERMISSION_DENIED: the store refused the server, not the caller.
        FailureReason::StoreDenied
        | FailureReason::StoreMisconfigured
        | FailureReason::Archived
        | FailureReason::StoreUnsafe => Code::FailedPrecondition,
        FailureReason::LocalStoreFull => Code::ResourceExhausted,
        FailureReason::DataLoss => Code::DataLoss,
        FailureReason::RequestIdReused => Code::AlreadyExists,
        // The caller must name another document or object.
        FailureReason::SourceLost | FailureReason::StoreChanged => Code::FailedPrecondition,
        FailureReason::Internal => Code::Internal,
    }
}

/// A status with an ErrorInfo, and a RetryInfo if waiting helps.
pub(super) fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    with_metadata(code, reason, message, [])
}

fn with_metadata<const N: usize>(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: [(&str, String); N],
) -> Status {
    let message = truncated(message.into());
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), short(value))).collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    // A request does not become smaller by waiting.
    let waiting_helps =
        reason != REQUEST_TOO_LARGE && matches!(code, Code::Unavailable | Code::ResourceExhausted);
    if waiting_helps {
        details.set_retry_info(Some(RETRY_DELAY));
    }
    Status::with_error_details(code, message, details)
}

/// The status of an export that failed or was refused.
pub(super) fn failure_status(reason: FailureReason, message: &str) -> Status {
    status(code_of(reason), reason.as_str(), message)
}

/// An internal error. The status has no details; they are in the log.
pub fn internal_error() -> Status {
    failure_status(FailureReason::Internal, "internal error: see the server's log")
}

/// The invalid fields of a request: as many as fit into a status, and their total number.
#[derive(Debug, Default)]
pub(super) struct Violations {
    shown: Vec<(String, String)>,
    shown_bytes: usize,
    total: usize,
    /// Precedes each field.
    prefix: String,
}

impl Violations {
    /// Names the fields that are added from now on as those of this message, such as `requests[17].`.
    pub(super) fn set_prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// Adds an invalid field, named as in the proto. If the status is full, the field is only counted and not
    /// formatted.
    pub(super) fn add(&mut self, field: impl fmt::Display, description: impl fmt::Display) {
        self.total += 1;
        if self.shown_bytes > VIOLATIONS_LIMIT_BYTES {
            return;
        }
        let field = Truncated::of(format_args!("{}{field}", self.prefix));
        let description = Truncated::of(description);
        self.shown_bytes += field.len() + description.len();
        // The first is always included.
        if self.shown_bytes <= VIOLATIONS_LIMIT_BYTES || self.shown.is_empty() {
            self.shown.push((field, description));
        }
    }

    /// Returns the value if there are no violations.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, Status> {
        if self.total == 0 { Ok(value) } else { Err(self.into_status()) }
    }

    /// INVALID_ARGUMENT with the violations that fit into a status.
    pub(super) fn into_status(self) -> Status {
        let Self { shown, total, .. } = self;
        let omitted = total - shown.len();
        let metadata = (omitted > 0).then(|| (OMITTED.to_owned(), omitted.to_string()));
        let metadata: HashMap<_, _> = metadata.into_iter().collect();
        let mut details = ErrorDetails::with_error_info("INVALID_REQUEST", DOMAIN, metadata);
        for (field, description) in &shown {
            details.add_bad_request_violation(field, description);
        }
        if omitted > 0 {
            details.add_bad_request_violation("", omitted_text(omitted));
        }
        let first = shown.first().map(|(field, description)| format!("{field}: {description}"));
        let rest = match total {
            0 | 1 => String::new(),
            _ => format!(" (and {} more: see the BadRequest details)", total - 1),
        };
        // The rest stays readable if the first one is long.
        let limit_bytes = MESSAGE_LIMIT_BYTES.saturating_sub(encoded_bytes(&rest));
        let first = shortened(first.unwrap_or_default(), limit_bytes, encoded_bytes);
        let message = first + &rest;
        Status::with_error_details(Code::InvalidArgument, message, details)
    }
}

/// A text that is truncated while it is written, because the input can be as long as a request.
#[derive(Default)]
struct Truncated(String);

impl Truncated {
    fn of(text: impl fmt::Display) -> String {
        use fmt::Write as _;

        let mut truncated = Self::default();
        // Fails only if the text is truncated.
        let is_complete = write!(truncated, "{text}").is_ok();
        if !is_complete {
            truncated.0.push('…');
        }
        truncated.0
    }
}

impl fmt::Write for Truncated {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free_bytes = TEXT_LIMIT_BYTES - self.0.len();
        if text.len() <= free_bytes {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(free_bytes)]);
        Err(fmt::Error)
    }
}

/// Truncates a text that is too long for a header.
fn truncated(mut text: String) -> String {
    if text.len() > TEXT_LIMIT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_LIMIT_BYTES));
        text.push('…');
    }
    text
}

/// INVALID_ARGUMENT for one field.
pub(super) fn invalid(field: &str, description: impl fmt::Display) -> Status {
    let mut violations = Violations::default();
    violations.add(field, description);
    violations.into_status()
}

/// The batch is unknown.
pub(super) fn batch_not_here(batch_id: Uuid) -> Status {
    let message = format!(
        "batches/{batch_id} is not known to this server: send BatchStartExports again with its batch_id to make sure \
         that each item is exported"
    );
    status(Code::NotFound, "BATCH_NOT_HERE", message)
}

/// A batch is not accepted, or cannot be read.
pub(super) fn batch_status(error: BatchError) -> Status {
    let message = error.to_string();
    match error {
        BatchError::IdReused(_) => status(Code::AlreadyExists, "BATCH_ID_REUSED", message),
        BatchError::TooMany { setting, .. } => {
            let metadata = [("setting", setting.to_owned())];
            with_metadata(Code::ResourceExhausted, "TOO_MANY_BATCHES", message, metadata)
        }
        BatchError::ReadOnly(error) => error.into(),
        BatchError::Disk(error) if error.kind() == DiskErrorKind::Full => {
            status(Code::ResourceExhausted, "LOCAL_STORE_FULL", message)
        }
        BatchError::Disk(_) => status(Code::Unavailable, "JOURNAL_UNAVAILABLE", message),
        BatchError::Stopping => status(Code::Unavailable, "SHUTTING_DOWN", message),
        BatchError::Store(error) => store_status(&error),
    }
}

/// The reason of a refusal as in ErrorInfo, and its message.
pub(super) fn describe(error: StartError) -> (String, String) {
    let status = Status::from(error);
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    (reason.unwrap_or_default(), status.message().to_owned())
}

/// INVALID_ARGUMENT for a JSON text: the field, if the text can be read up to it, and the position of the fault.
pub(super) fn invalid_at(field: &str, fault: &str, line: usize, column: usize) -> Status {
    let metadata = [("line", line), ("column", column)];
    let metadata: HashMap<_, _> =
        metadata.map(|(key, number)| (key.to_owned(), number.to_string())).into();
    let mut details = ErrorDetails::with_error_info("INVALID_REQUEST", DOMAIN, metadata);
    let description = truncated(format!("{fault} at line {line} column {column}"));
    let field = truncated(field.to_owned());
    details.add_bad_request_violation(field.as_str(), description.as_str());
    let message = if field.is_empty() {
        format!("cannot read the request as JSON: {description}")
    } else {
        format!("{field}: {description}")
    };
    Status::with_error_details(Code::InvalidArgument, truncated(message), details)
}

/// The export is unknown.
pub(super) fn export_not_found(export_id: ExportId) -> Status {
    let message = format!("exports/{export_id} is not known to this server");
    status(Code::NotFound, "EXPORT_NOT_FOUND", message)
}

/// The caller is authenticated, but lacks the required role.
pub(super) fn role_missing(method: &str, roles: &[Role]) -> Status {
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let names = names.join(" or ");
    let message = format!("{method} requires the role {names}");
    let metadata = [("role", names)];
    with_metadata(Code::PermissionDenied, "ROLE_MISSING", message, metadata)
}

/// The request names no host, or a host that this server does not serve.
pub(super) fn host_not_allowed(message: String) -> Status {
    let metadata = [("setting", "ALLOWED_HOSTS".to_owned())];
    with_metadata(Code::PermissionDenied, "HOST_NOT_ALLOWED", message, metadata)
}

/// The limit of this setting is reached, and no permit became free in time.
pub(super) fn overloaded(setting: &str, message: impl Into<String>) -> Status {
    let metadata = [("setting", setting.to_owned())];
    with_metadata(Code::ResourceExhausted, OVERLOADED, message, metadata)
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
                // An operator must act before this id can be used here.
                JournalErrorKind::Conflict | JournalErrorKind::Unreadable => {
                    status(Code::FailedPrecondition, "JOURNAL_UNREADABLE", message)
                }
            },
            StartError::RecipientsKept => invalid("notify_emails", message),
            StartError::Syncing => status(Code::Unavailable, "EXPORT_MOVING", message),
            StartError::ShuttingDown => status(Code::Unavailable, "SHUTTING_DOWN", message),
            StartError::Store(failure) => failure_status(failure.reason, &message),
            StartError::Document { number, problem } => document_status(number, problem),
            StartError::Internal => failure_status(FailureReason::Internal, &message),
        }
    }
}

/// A document that a request names cannot be used. The status names the field.
fn document_status(number: usize, problem: DocumentProblem) -> Status {
    let field = match &problem {
        DocumentProblem::Upload(UploadError::NotFound { .. } | UploadError::NotFinished { .. }) => {
            "upload"
        }
        DocumentProblem::Upload(error) => return upload_status(error),
        DocumentProblem::NotAllowed { .. } | DocumentProblem::NotFound { .. } => "s3.uri",
        DocumentProblem::TooLarge { field, .. } => field,
        DocumentProblem::DigestMismatch { .. } => "sha256",
    };
    let code = match &problem {
        DocumentProblem::Upload(UploadError::NotFound { .. }) => {
            Some((Code::NotFound, "UPLOAD_NOT_FOUND"))
        }
        DocumentProblem::Upload(_) => Some((Code::FailedPrecondition, "UPLOAD_NOT_FINISHED")),
        DocumentProblem::NotAllowed { .. } => Some((Code::PermissionDenied, "SOURCE_NOT_ALLOWED")),
        DocumentProblem::NotFound { .. } => Some((Code::NotFound, "SOURCE_NOT_FOUND")),
        DocumentProblem::TooLarge { .. } | DocumentProblem::DigestMismatch { .. } => None,
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

/// An upload failed or cannot be used.
pub(super) fn upload_status(error: &UploadError) -> Status {
    let message = error.to_string();
    match error {
        UploadError::TooLarge { .. } => invalid("size_bytes", message),
        UploadError::DiskFull { .. } => {
            status(Code::ResourceExhausted, "LOCAL_STORE_FULL", message)
        }
        UploadError::IdReused { .. } => status(Code::AlreadyExists, "UPLOAD_ID_REUSED", message),
        UploadError::NotFound { .. } => status(Code::NotFound, "UPLOAD_NOT_FOUND", message),
        UploadError::NotFinished { .. } => {
            status(Code::FailedPrecondition, "UPLOAD_NOT_FINISHED", message)
        }
        UploadError::WrongOffset { committed_size_bytes, .. } => {
            let metadata = [("committed_size_bytes", committed_size_bytes.to_string())];
            with_metadata(Code::FailedPrecondition, "UPLOAD_OFFSET_MISMATCH", message, metadata)
        }
        UploadError::WrongChunk { .. } | UploadError::WrongSize { .. } => invalid("data", message),
        // The upload cannot continue; the caller must create a new one.
        UploadError::DigestMismatch { .. }
        | UploadError::ConflictingBytes { .. }
        | UploadError::LostBytes { .. } => status(Code::Aborted, "UPLOAD_ABORTED", message),
        UploadError::Interrupted { .. } => status(Code::Unavailable, "UPLOAD_INTERRUPTED", message),
        UploadError::Overloaded { .. } => {
            let metadata = [("setting", "MAX_CONCURRENT_UPLOADS".to_owned())];
            with_metadata(Code::ResourceExhausted, OVERLOADED, message, metadata)
        }
        UploadError::Store(error) => failure_status(FailureReason::from(&**error), &message),
    }
}

impl From<Overloaded> for Status {
    fn from(error: Overloaded) -> Self {
        let metadata = [("setting", error.setting.to_owned())];
        with_metadata(Code::ResourceExhausted, OVERLOADED, error.to_string(), metadata)
    }
}

impl From<AdmissionError> for Status {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::Overloaded(error) => error.into(),
            AdmissionError::TooLarge { .. } => {
                let metadata = [("setting", "MAX_REQUEST_MEMORY".to_owned())];
                let message = error.to_string();
                with_metadata(Code::ResourceExhausted, REQUEST_TOO_LARGE, message, metadata)
            }
        }
    }
}

/// A bundle cannot be read, or does not match its manifest.
pub(super) fn read_status(error: &ReadError) -> Status {
    match error {
        ReadError::Store(error) => store_status(error),
        ReadError::DataLoss { .. } => failure_status(FailureReason::DataLoss, &error.to_string()),
        ReadError::NoSuchArtifact { .. } => {
            status(Code::NotFound, "ARTIFACT_NOT_FOUND", error.to_string())
        }
    }
}

/// A link cannot be created.
pub(super) fn link_status(error: &LinkError) -> Status {
    match error {
        LinkError::Read(error) => read_status(error),
        LinkError::StoredLocally { .. } => {
            status(Code::FailedPrecondition, "STORED_LOCALLY", error.to_string())
        }
    }
}

/// A store failed.
pub(super) fn store_status(error: &StoreError) -> Status {
    failure_status(FailureReason::from(error), &error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn status_has_error_info_and_retry_info_if_waiting_helps() {
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
            (StartError::Overloaded(overloaded), Code::ResourceExhausted, OVERLOADED, true),
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
    fn many_violations_fit_into_one_status() {
        let mut violations = Violations::default();
        for number in 0..10_000 {
            violations.add(format!("review.suggestions[{number}].name"), "is a duplicate");
        }
        let status = violations.into_status();
        assert!(status.details().len() < 12 * 1024);
        let details = status.get_error_details();
        let shown = &details.bad_request().unwrap().field_violations;
        assert!(shown.len() > 50);
        assert!(shown.last().unwrap().description.contains("more invalid fields"));
        assert!(status.message().contains("and 9999 more"));
        let omitted = 10_000 - (shown.len() - 1);
        assert_eq!(
            details.error_info().unwrap().metadata["omitted_violations"],
            omitted.to_string()
        );
    }
}
