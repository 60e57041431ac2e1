//! Classification of failed S3 requests.

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
    response_limits::ResponseTooLarge,
};

/// The maximum length of an error code, request id or region. Those of S3 have at most about 50 characters.
const NAME_LIMIT_CHARS: usize = 100;
/// The maximum length of a message of S3 or of a connection. Messages are written to logs and failure records.
const MESSAGE_LIMIT_CHARS: usize = 1_000;

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    /// The response's HTTP status, if there was a response.
    pub(super) status: Option<u16>,
    /// The response's error code, if any.
    pub(super) code: Option<String>,
    /// The cause, for diagnosis.
    cause: FailureCause,
    /// A short description.
    reason: String,
    /// The message of S3 or of the connection. Not for the caller: it may name accounts and roles.
    source: Option<String>,
}

impl Failure {
    /// No usable response.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            status: None,
            code: None,
            cause: FailureCause::Other,
            reason: reason.into(),
            source: None,
        }
    }

    /// Listings of this server cannot be used.
    pub(super) fn unusable_listing(reason: &str) -> Self {
        let reason = format!("{reason}; `tara-export check` shows what this server lacks");
        Self { kind: StoreErrorKind::Misconfigured, ..Self::unavailable(reason) }
    }

    /// A timeout.
    pub(super) fn timed_out(reason: impl Into<String>) -> Self {
        Self { cause: FailureCause::Timeout, ..Self::unavailable(reason) }
    }

    /// An invalid or incomplete response.
    pub(super) fn broken_response(reason: impl Into<String>) -> Self {
        Self { cause: FailureCause::Damaged, ..Self::unavailable(reason) }
    }

    /// Whether S3 asks for fewer requests.
    pub(super) fn is_throttled(&self) -> bool {
        self.cause == FailureCause::Throttled
    }

    /// A HEAD shows that the object is archived.
    pub(super) fn archived() -> Self {
        Self { kind: StoreErrorKind::Archived, ..Self::unavailable(RESTORE) }
    }

    /// Converts to a store error with the message "cannot {action} {location}: …".
    pub(super) fn into_store_error(self, action: &str, location: &str) -> StoreError {
        let error =
            StoreError::new(self.kind, format!("cannot {action} {location}: {}", self.reason))
                .with_cause(self.cause);
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// For operations on the bucket: "not found" means that the bucket does not exist.
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
        // Checked first: the status of a response that is too large does not matter.
        if let Some(too_large) = find::<ResponseTooLarge>(&error) {
            return Self::broken_response(too_large.to_string());
        }
        match &error {
            SdkError::ServiceError(service_error) => {
                let response = service_error.raw();
                let status = response.status().as_u16();
                let code = service_error.err().code().map(|code| truncate(code, NAME_LIMIT_CHARS));
                let code = code.as_deref();
                let mut reason = describe_response(
                    status,
                    code,
                    error.request_id(),
                    response.headers().get("x-amz-bucket-region"),
                );
                let kind = classify(status, code);
                if let Some(advice) = advice(kind, code, service_error.err().message()) {
                    reason = format!("{reason}: {advice}");
                }
                Self {
                    kind,
                    status: Some(status),
                    code: code.map(str::to_owned),
                    cause: response_cause(status, code),
                    reason,
                    source: service_error
                        .err()
                        .message()
                        .map(|message| truncate(message, MESSAGE_LIMIT_CHARS)),
                }
            }
            // Not an S3 response, or a truncated one.
            SdkError::ResponseError(response_error) => {
                let status = response_error.raw().status().as_u16();
                let kind =
                    if status < 300 { StoreErrorKind::Unavailable } else { classify(status, None) };
                let reason = format!("invalid response (HTTP {status})");
                Self {
                    kind,
                    status: Some(status),
                    code: None,
                    cause: FailureCause::Damaged,
                    reason,
                    source: Some(chain(&error)),
                }
            }
            SdkError::TimeoutError(_) => Self::timed_out("the request timed out"),
            SdkError::DispatchFailure(dispatch) => match find::<CredentialsError>(&error) {
                Some(credentials) => of_credentials(credentials),
                None => of_connection(&error, dispatch.as_connector_error()),
            },
            _ => Self {
                kind: StoreErrorKind::Misconfigured,
                status: None,
                code: None,
                cause: FailureCause::Other,
                reason: "the settings do not give a valid request".to_owned(),
                source: Some(chain(&error)),
            },
        }
    }
}

const NO_CREDENTIALS: &str =
    "no AWS credentials in the environment, the profile or the role; configure one of them";

/// A failure to load credentials. Leaves out the provider's message, which may quote the configuration.
pub(super) fn of_credentials(error: &CredentialsError) -> Failure {
    // The metadata service is the last provider of the chain: all others returned no credentials.
    let is_refused = find::<TokenError>(error).is_some();
    let (kind, reason) = match error {
        CredentialsError::ProviderError(_) if is_refused => {
            (StoreErrorKind::Denied, NO_CREDENTIALS)
        }
        CredentialsError::CredentialsNotLoaded(_) => (StoreErrorKind::Denied, NO_CREDENTIALS),
        CredentialsError::InvalidConfiguration(_) => {
            (StoreErrorKind::Misconfigured, "the AWS profile or its environment is malformed")
        }
        // The metadata service or STS may be temporarily slow or down.
        CredentialsError::ProviderTimedOut(_) => {
            (StoreErrorKind::Unavailable, "the provider of AWS credentials timed out")
        }
        _ => (StoreErrorKind::Unavailable, "the provider of AWS credentials failed"),
    };
    let cause = FailureCause::Credentials;
    Failure { kind, status: None, code: None, cause, reason: reason.to_owned(), source: None }
}

fn of_connection(
    error: &(dyn Error + 'static),
    connector_error: Option<&ConnectorError>,
) -> Failure {
    let is_timeout = connector_error.is_some_and(ConnectorError::is_timeout);
    let cause = if is_timeout { FailureCause::Timeout } else { FailureCause::Connection };
    let (kind, reason) = match connector_error {
        Some(_) if is_timeout => (StoreErrorKind::Unavailable, "the connection timed out"),
        Some(connector_error) if connector_error.is_user() => {
            (StoreErrorKind::Misconfigured, "the settings do not give a valid request")
        }
        _ => (StoreErrorKind::Unavailable, "S3 is unreachable, or the connection was lost"),
    };
    let source = Some(chain(error));
    Failure { kind, status: None, code: None, cause, reason: reason.to_owned(), source }
}

/// The kind of an error response: from its error code if it has one (a HEAD has none), else from its status.
/// Codes: Amazon S3 API Reference, "Error responses"; `XMinio…` are MinIO's own.
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
        // Temporary errors of KMS; its other codes mean a wrong or disabled key.
        "KMS.ThrottlingException" | "KMS.InternalException" | "KMS.KMSInternalException" => {
            StoreErrorKind::Unavailable
        }
        code if code.starts_with("KMS.") => StoreErrorKind::Misconfigured,
        // The second one is the code for the source of a copy.
        "InvalidObjectState" | "ObjectNotInActiveTierError" => StoreErrorKind::Archived,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "NotSignedUp"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired" => StoreErrorKind::Denied,
        // This machine's clock is wrong. The SDK reads the difference from the response's date and
        // signs the next request with the right time.
        "RequestTimeTooSkewed" => StoreErrorKind::Unavailable,
        // Damaged or truncated in transit: a retry may succeed.
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

/// The cause of an error response.
fn response_cause(status: u16, code: Option<&str>) -> FailureCause {
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
        (
            _,
            "AccountProblem"
            | "NotSignedUp"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired",
        ) => FailureCause::Credentials,
        (409, _) => FailureCause::Conflict,
        // CompleteMultipartUpload and CopyObject also return errors with status 200.
        (500.., _) | (..300, _) => FailureCause::ServerError,
        _ => FailureCause::Other,
    }
}

/// How to make an archived object readable.
pub(super) const RESTORE: &str = "the object is archived and must be restored before it can be read, for example with \
                                  `aws s3api restore-object`; a restore takes minutes to two days";

/// What to do about a response, if its code says more than its kind.
fn advice(kind: StoreErrorKind, code: Option<&str>, message: Option<&str>) -> Option<&'static str> {
    let code = code.unwrap_or_default();
    // S3 denies a KMS key with the code AccessDenied, and names the missing right in the message.
    let is_key_denied = code == "AccessDenied" && message.is_some_and(|text| text.contains("kms:"));
    match kind {
        StoreErrorKind::Archived => Some(RESTORE),
        StoreErrorKind::Misconfigured if code.starts_with("KMS.") => {
            Some("the object's KMS key cannot be used: enable the key, or cancel its deletion")
        }
        _ if is_key_denied => Some(
            "give the service kms:Decrypt and kms:GenerateDataKey on the KMS key of this object",
        ),
        _ => advice_on_code(code),
    }
}

fn advice_on_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidAccessKeyId" => {
            "this server does not know the access key: correct AWS_ACCESS_KEY_ID, the profile or the endpoint URL"
        }
        "SignatureDoesNotMatch" => {
            "the secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY or the profile. If both are \
             right, a proxy changes the requests"
        }
        "ExpiredToken" | "TokenRefreshRequired" => {
            "the temporary credentials have expired: renew them"
        }
        "InvalidToken" => {
            "the session token does not belong to the access key: correct AWS_SESSION_TOKEN or the profile"
        }
        "RequestTimeTooSkewed" => "synchronize this machine's clock",
        "AllAccessDisabled" | "AccountProblem" | "NotSignedUp" => {
            "the AWS account cannot use S3: look at its notices"
        }
        "NoSuchBucket" => "create the bucket, or correct S3_BUCKET_NAME",
        "InvalidBucketName" => "correct S3_BUCKET_NAME",
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => "set AWS_REGION to the bucket's region",
        _ => return None,
    })
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

/// Describes an error response with the details that AWS Support asks for.
fn describe_response(
    status: u16,
    code: Option<&str>,
    request_id: Option<&str>,
    region: Option<&str>,
) -> String {
    let mut text = match code {
        Some(code) => format!("S3 returned {code} (HTTP {status}"),
        None => format!("S3 returned HTTP {status} ("),
    };
    if let Some(request_id) = request_id {
        if code.is_some() {
            text.push_str(", ");
        }
        text.push_str("request ");
        text.push_str(&truncate(request_id, NAME_LIMIT_CHARS));
    } else if code.is_none() {
        text.push_str("no request id");
    }
    text.push(')');
    if let (300..400, Some(region)) = (status, region) {
        text.push_str("; the bucket is in region ");
        text.push_str(&truncate(region, NAME_LIMIT_CHARS));
    }
    text
}

/// Truncates a text of another program, with `…` in place of the rest.
fn truncate(text: &str, limit_chars: usize) -> String {
    match text.char_indices().nth(limit_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The error and its sources, joined by `: `, without sources whose text is already included.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let source_text = source.to_string();
        if !text.ends_with(&source_text) {
            text = format!("{text}: {source_text}");
        }
        next = source.source();
    }
    truncate(&text, MESSAGE_LIMIT_CHARS)
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_classified_by_code_and_status() {
        use StoreErrorKind::{Archived, Denied, Full, Misconfigured, NotFound, Unavailable};
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
            (403, "InvalidObjectState", Archived),
            (403, "ObjectNotInActiveTierError", Archived),
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

    /// Wrong credentials are no missing right, and the advice must not send anyone to look for one.
    #[test]
    fn advice_follows_the_code() {
        for (code, expected) in [
            ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
            ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            ("ExpiredToken", "renew"),
            ("InvalidToken", "AWS_SESSION_TOKEN"),
            ("RequestTimeTooSkewed", "clock"),
            ("NoSuchBucket", "S3_BUCKET_NAME"),
            ("PermanentRedirect", "AWS_REGION"),
            ("KMS.DisabledException", "KMS key"),
        ] {
            let advice = advice(classify(400, Some(code)), Some(code), None).unwrap_or_default();
            assert!(advice.contains(expected), "{code}: {advice}");
        }
        assert_eq!(advice(StoreErrorKind::Denied, Some("AccessDenied"), None), None);
    }

    #[test]
    fn description_has_code_status_request_id_and_region() {
        assert_eq!(
            describe_response(
                403,
                Some("AccessDenied"),
                Some("4442587FB7D0A2F9"),
                Some("eu-west-1")
            ),
            "S3 returned AccessDenied (HTTP 403, request 4442587FB7D0A2F9)"
        );
        assert_eq!(
            describe_response(301, None, None, Some("eu-west-1")),
            "S3 returned HTTP 301 (no request id); the bucket is in region eu-west-1"
        );
        assert_eq!(
            describe_response(400, None, Some("X"), None),
            "S3 returned HTTP 400 (request X)"
        );
    }

    #[test]
    fn long_texts_of_responses_are_truncated() {
        let long = "ä".repeat(100_000);
        let text = describe_response(301, Some("X"), Some(&long), Some(&long));
        assert!(text.chars().count() < 300 && text.ends_with("ä…"), "{text}");
        assert_eq!(truncate("abc", 3), "abc");
    }

    #[test]
    fn missing_credentials_are_denied_without_details() {
        let missing = of_credentials(&CredentialsError::not_loaded("secret-process --key abc"));
        assert_eq!(missing.kind, StoreErrorKind::Denied);
        let error = missing.into_store_error("store", "s3://bucket/key");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        let slow = CredentialsError::provider_timed_out(std::time::Duration::from_secs(1));
        assert_eq!(of_credentials(&slow).kind, StoreErrorKind::Unavailable);
    }

    #[test]
    fn missing_bucket_is_misconfigured() {
        let failure = Failure { kind: StoreErrorKind::NotFound, ..Failure::unavailable("") };
        assert_eq!(failure.of_bucket().kind, StoreErrorKind::Misconfigured);
    }
}
