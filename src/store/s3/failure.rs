//! What a failed S3 request means to the caller.

use std::error::Error;

use aws_config::imds::client::error::TokenError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::{
    super::{FailureCause, StoreError, StoreErrorKind},
    answers::AnswerTooLarge,
};

/// The longest error code, request id or region. S3's have at most some fifty characters.
const NAME_LIMIT_CHARS: usize = 100;
/// The longest message of S3 or of a connection. Messages get into logs and notes.
const MESSAGE_LIMIT_CHARS: usize = 1_000;

/// A failed request: what to make of it, and what to tell people.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    /// The answer's HTTP status, if there was an answer.
    pub(super) status: Option<u16>,
    /// The answer's error code, if it had one.
    pub(super) code: Option<String>,
    /// What lies behind it.
    behind: FailureCause,
    /// What went wrong, in a few words.
    what: String,
    /// S3's own words, or the connection's. Not for the caller: they may name accounts and roles.
    cause: Option<String>,
}

impl Failure {
    /// No answer, or none that can be used.
    pub(super) fn unavailable(what: impl Into<String>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            status: None,
            code: None,
            behind: FailureCause::Other,
            what: what.into(),
            cause: None,
        }
    }

    /// No answer in time.
    pub(super) fn timed_out(what: impl Into<String>) -> Self {
        Self { behind: FailureCause::Timeout, ..Self::unavailable(what) }
    }

    /// An answer that is none, or not whole.
    pub(super) fn broken_answer(what: impl Into<String>) -> Self {
        Self { behind: FailureCause::Damaged, ..Self::unavailable(what) }
    }

    /// The error to hand out. `action` reads "could not {action} s3://…".
    pub(super) fn into_store_error(self, action: &str, location: &str) -> StoreError {
        let error =
            StoreError::new(self.kind, format!("could not {action} {location}: {}", self.what))
                .with_cause(self.behind);
        match self.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }

    /// An operation on the bucket, not on one object, that found nothing: no bucket then.
    pub(super) fn of_bucket(mut self) -> Self {
        if self.kind == StoreErrorKind::NotFound {
            self.kind = StoreErrorKind::Misconfigured;
        }
        self
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        // Whatever its status is: what follows may say something else.
        if let Some(too_large) = find::<AnswerTooLarge>(&error) {
            return Self::broken_answer(too_large.to_string());
        }
        match &error {
            SdkError::ServiceError(service_error) => {
                let response = service_error.raw();
                let status = response.status().as_u16();
                let code = service_error.err().code().map(|code| cut(code, NAME_LIMIT_CHARS));
                let code = code.as_deref();
                let what = answer(
                    status,
                    code,
                    error.request_id(),
                    response.headers().get("x-amz-bucket-region"),
                );
                Self {
                    kind: classify(status, code),
                    status: Some(status),
                    code: code.map(str::to_owned),
                    behind: behind(status, code),
                    what,
                    cause: service_error
                        .err()
                        .message()
                        .map(|message| cut(message, MESSAGE_LIMIT_CHARS)),
                }
            }
            // An answer that is no S3 answer, or that broke off.
            SdkError::ResponseError(response_error) => {
                let status = response_error.raw().status().as_u16();
                let kind =
                    if status < 300 { StoreErrorKind::Unavailable } else { classify(status, None) };
                let what = format!("the answer can't be read (HTTP {status})");
                Self {
                    kind,
                    status: Some(status),
                    code: None,
                    behind: FailureCause::Damaged,
                    what,
                    cause: Some(chain(&error)),
                }
            }
            SdkError::TimeoutError(_) => Self::timed_out("no answer in time"),
            SdkError::DispatchFailure(dispatch) => match find::<CredentialsError>(&error) {
                Some(credentials) => of_credentials(credentials),
                None => of_connection(&error, dispatch.as_connector_error()),
            },
            _ => Self {
                kind: StoreErrorKind::Misconfigured,
                status: None,
                code: None,
                behind: FailureCause::Other,
                what: "no request can be made of the settings".to_owned(),
                cause: Some(chain(&error)),
            },
        }
    }
}

const NO_CREDENTIALS: &str =
    "this service has no AWS credentials; neither environment, profile nor role gives any";

/// What went wrong with the credentials. Their own messages stay out: they may quote configuration.
pub(super) fn of_credentials(error: &CredentialsError) -> Failure {
    // The metadata service is the chain's last hope. Where it refuses, nothing else gave any.
    let is_refused = find::<TokenError>(error).is_some();
    let (kind, what) = match error {
        CredentialsError::ProviderError(_) if is_refused => {
            (StoreErrorKind::Denied, NO_CREDENTIALS)
        }
        CredentialsError::CredentialsNotLoaded(_) => (StoreErrorKind::Denied, NO_CREDENTIALS),
        CredentialsError::InvalidConfiguration(_) => {
            (StoreErrorKind::Misconfigured, "the AWS profile or its environment is malformed")
        }
        // The metadata service or STS may be slow or down for a moment.
        CredentialsError::ProviderTimedOut(_) => {
            (StoreErrorKind::Unavailable, "the source of AWS credentials gave none in time")
        }
        _ => (StoreErrorKind::Unavailable, "the source of AWS credentials failed"),
    };
    let behind = FailureCause::Credentials;
    Failure { kind, status: None, code: None, behind, what: what.to_owned(), cause: None }
}

fn of_connection(
    error: &(dyn Error + 'static),
    connector_error: Option<&ConnectorError>,
) -> Failure {
    let is_timeout = connector_error.is_some_and(ConnectorError::is_timeout);
    let behind = if is_timeout { FailureCause::Timeout } else { FailureCause::Connection };
    let (kind, what) = match connector_error {
        Some(_) if is_timeout => (StoreErrorKind::Unavailable, "no connection in time"),
        Some(connector_error) if connector_error.is_user() => {
            (StoreErrorKind::Misconfigured, "no request can be made of the settings")
        }
        _ => (StoreErrorKind::Unavailable, "S3 can't be reached, or the connection broke"),
    };
    let cause = Some(chain(error));
    Failure { kind, status: None, code: None, behind, what: what.to_owned(), cause }
}

/// What S3's answer means: from its error code where there is one (a HEAD has none), else from its
/// status. Codes: Amazon S3 API Reference, "Error responses"; `XMinio…` are MinIO's own.
pub(super) fn classify(status: u16, code: Option<&str>) -> StoreErrorKind {
    match code.unwrap_or_default() {
        "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload" => StoreErrorKind::NotFound,
        "NoSuchBucket"
        | "InvalidBucketName"
        | "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "InvalidRequest"
        | "InvalidArgument"
        | "NotImplemented"
        | "MethodNotAllowed" => StoreErrorKind::Misconfigured,
        // KMS lets go of these by itself; the other codes of KMS tell of a wrong or disabled key.
        "KMS.ThrottlingException" | "KMS.InternalException" | "KMS.KMSInternalException" => {
            StoreErrorKind::Unavailable
        }
        code if code.starts_with("KMS.") => StoreErrorKind::Misconfigured,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "NotSignedUp"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired" => StoreErrorKind::Denied,
        // This machine's clock is wrong. The SDK learns the difference from the answer's date and
        // signs the next request with the right time.
        "RequestTimeTooSkewed" => StoreErrorKind::Unavailable,
        // Damaged or cut off on the way: the same bytes again may arrive.
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "IncompleteBody"
        | "RequestTimeout" => StoreErrorKind::Unavailable,
        "SlowDown"
        | "ServiceUnavailable"
        | "InternalError"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "TemporaryRedirect"
        | "ThrottlingException" => StoreErrorKind::Unavailable,
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => {
            StoreErrorKind::Full
        }
        _ => classify_status(status),
    }
}

/// What lies behind an answer that is an error.
fn behind(status: u16, code: Option<&str>) -> FailureCause {
    match (status, code.unwrap_or_default()) {
        (
            _,
            "SlowDown" | "ServiceUnavailable" | "ThrottlingException" | "KMS.ThrottlingException",
        )
        | (429 | 503, _) => FailureCause::Throttled,
        (_, "RequestTimeout") | (408, _) => FailureCause::Timeout,
        (
            _,
            "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "IncompleteBody",
        ) => FailureCause::Damaged,
        (409, _) => FailureCause::Conflict,
        // Behind a good status too, as CompleteMultipartUpload and CopyObject have it.
        (500.., _) | (..300, _) => FailureCause::ServerError,
        _ => FailureCause::Other,
    }
}

fn classify_status(status: u16) -> StoreErrorKind {
    match status {
        404 => StoreErrorKind::NotFound,
        401 | 403 => StoreErrorKind::Denied,
        408 | 409 | 425 | 429 => StoreErrorKind::Unavailable,
        507 => StoreErrorKind::Full,
        501 => StoreErrorKind::Misconfigured,
        500.. => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Misconfigured,
    }
}

fn answer(
    status: u16,
    code: Option<&str>,
    request_id: Option<&str>,
    region: Option<&str>,
) -> String {
    let mut text = match code {
        Some(code) => format!("S3 answered {code} (HTTP {status}"),
        None => format!("S3 answered HTTP {status} ("),
    };
    if let Some(request_id) = request_id {
        if code.is_some() {
            text.push_str(", ");
        }
        text.push_str("request ");
        text.push_str(&cut(request_id, NAME_LIMIT_CHARS));
    } else if code.is_none() {
        text.push_str("no request id");
    }
    text.push(')');
    if let (300..400, Some(region)) = (status, region) {
        text.push_str("; the bucket is in region ");
        text.push_str(&cut(region, NAME_LIMIT_CHARS));
    }
    text
}

/// The start of a text that another program wrote, with `…` if there is more.
fn cut(text: &str, limit_chars: usize) -> String {
    match text.char_indices().nth(limit_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The causes of an error, one behind the other, without those that repeat what was said.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    cut(&text, MESSAGE_LIMIT_CHARS)
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_code_and_by_status() {
        use StoreErrorKind::{Denied, Full, Misconfigured, NotFound, Unavailable};
        for (status, code, kind) in [
            (404, "NoSuchKey", NotFound),
            (404, "NoSuchBucket", Misconfigured),
            (301, "PermanentRedirect", Misconfigured),
            (400, "AuthorizationHeaderMalformed", Misconfigured),
            (400, "InvalidRequest", Misconfigured),
            (501, "NotImplemented", Misconfigured),
            (400, "KMS.DisabledException", Misconfigured),
            (400, "KMS.NotFoundException", Misconfigured),
            (400, "KMS.ThrottlingException", Unavailable),
            (403, "AccessDenied", Denied),
            (403, "InvalidAccessKeyId", Denied),
            (403, "SignatureDoesNotMatch", Denied),
            (400, "ExpiredToken", Denied),
            (403, "RequestTimeTooSkewed", Unavailable),
            (400, "BadDigest", Unavailable),
            (400, "XAmzContentSHA256Mismatch", Unavailable),
            (400, "XAmzContentChecksumMismatch", Unavailable),
            (400, "IncompleteBody", Unavailable),
            (400, "RequestTimeout", Unavailable),
            (503, "SlowDown", Unavailable),
            (409, "ConditionalRequestConflict", Unavailable),
            (409, "OperationAborted", Unavailable),
            (507, "XMinioStorageFull", Full),
            (400, "SomethingNew", Misconfigured),
            (500, "SomethingNew", Unavailable),
        ] {
            assert_eq!(classify(status, Some(code)), kind, "{status} {code}");
        }
        for (status, kind) in [
            (301, Misconfigured),
            (400, Misconfigured),
            (403, Denied),
            (404, NotFound),
            (408, Unavailable),
            (409, Unavailable),
            (429, Unavailable),
            (500, Unavailable),
            (501, Misconfigured),
            (503, Unavailable),
            (507, Full),
        ] {
            assert_eq!(classify(status, None), kind, "{status}");
        }
    }

    #[test]
    fn answers_are_told_with_what_support_asks_for() {
        assert_eq!(
            answer(403, Some("AccessDenied"), Some("4442587FB7D0A2F9"), Some("eu-west-1")),
            "S3 answered AccessDenied (HTTP 403, request 4442587FB7D0A2F9)"
        );
        assert_eq!(
            answer(301, None, None, Some("eu-west-1")),
            "S3 answered HTTP 301 (no request id); the bucket is in region eu-west-1"
        );
        assert_eq!(answer(400, None, Some("X"), None), "S3 answered HTTP 400 (request X)");
    }

    #[test]
    fn long_texts_of_an_answer_are_cut() {
        let long = "ä".repeat(100_000);
        let text = answer(301, Some("X"), Some(&long), Some(&long));
        assert!(text.chars().count() < 300 && text.ends_with("ä…"), "{text}");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn credentials_that_are_not_there_are_an_operator_s_business() {
        let missing = of_credentials(&CredentialsError::not_loaded("secret-process --key abc"));
        assert_eq!(missing.kind, StoreErrorKind::Denied);
        let error = missing.into_store_error("store", "s3://bucket/key");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        let slow = CredentialsError::provider_timed_out(std::time::Duration::from_secs(1));
        assert_eq!(of_credentials(&slow).kind, StoreErrorKind::Unavailable);
    }

    #[test]
    fn a_bucket_is_not_missing_like_an_object() {
        let failure = Failure { kind: StoreErrorKind::NotFound, ..Failure::unavailable("") };
        assert_eq!(failure.of_bucket().kind, StoreErrorKind::Misconfigured);
    }
}
