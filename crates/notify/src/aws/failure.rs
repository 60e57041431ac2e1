//! What a failed call means.
//!
//! Sources: "Common Errors" of the SNS and EventBridge API References; SNS, Publish; EventBridge, PutEvents and
//! PutEventsResultEntry.

use std::{error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::{SendError, SendErrorKind};

/// Maximum length of an error code.
const CODE_LIMIT_CHARS: usize = 100;
/// Maximum length of a service's message.
const MESSAGE_LIMIT_CHARS: usize = 500;

/// Maximum length of the cause of a lost connection.
const CAUSE_LIMIT_CHARS: usize = 200;

/// What a service's error code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The service is busy or damaged.
    Temporary,
    /// The credentials are not valid.
    Credentials,
    /// A right is missing.
    Denied,
    /// The topic or the bus does not exist.
    Missing,
    /// The key of a topic or a bus cannot be used.
    Key,
    /// The event is not accepted.
    Invalid,
}

/// The suffix of the codes of EventBridge, which are SNS's and its own with it, and sometimes without.
const SUFFIX: &str = "Exception";

fn meaning(status: Option<u16>, code: &str) -> Meaning {
    match code.strip_suffix(SUFFIX).unwrap_or(code) {
        "Throttled"
        | "Throttling"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "KMSThrottling"
        | "InternalError"
        | "InternalFailure"
        | "Internal"
        | "ServiceUnavailable"
        | "RequestTimeTooSkewed"
        | "ConcurrentModification"
        | "OperationDisabled" => Meaning::Temporary,
        "AuthFailure"
        | "ExpiredToken"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClient" => Meaning::Credentials,
        "AccessDenied"
        | "AuthorizationError"
        | "NotAuthorized"
        | "NotAuthorizedForDetailType"
        | "NotAuthorizedForSource" => Meaning::Denied,
        "NotFound" | "ResourceNotFound" => Meaning::Missing,
        code if code.starts_with("KMS") => Meaning::Key,
        "InvalidArgument"
        | "InvalidParameter"
        | "InvalidParameterValue"
        | "MalformedDetail"
        | "ParameterValueInvalid"
        | "RequestEntityTooLarge"
        | "Serialization"
        | "Validation"
        | "ValidationError" => Meaning::Invalid,
        _ => match status {
            Some(400 | 413 | 422) => Meaning::Invalid,
            Some(401 | 403) => Meaning::Denied,
            Some(404) => Meaning::Missing,
            _ => Meaning::Temporary,
        },
    }
}

/// Whether other credentials can avoid the error.
pub(super) fn is_credential_refusal(code: &str) -> bool {
    meaning(None, code) == Meaning::Credentials
}

/// The failure of a complete call. `right` is the right that the call needs.
pub(super) fn of_call<E>(
    service: &str,
    action: &str,
    right: &str,
    error: &SdkError<E, HttpResponse>,
) -> SendError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let unavailable = |reason: &str| {
        SendError::new(SendErrorKind::Unavailable, format!("cannot {action}: {reason}"))
    };
    match error {
        SdkError::ServiceError(refusal) => {
            let response = refusal.raw();
            let (code, message) = (refusal.err().code(), refusal.err().message());
            let status = response.status().as_u16();
            let mut failure = of_code(Some(status), code, message, action, right);
            failure.retry_after = retry_after(response);
            failure
        }
        SdkError::ResponseError(response) => {
            // A gateway's page, or a response without the service's form.
            let status = response.raw().status().as_u16();
            let mut failure =
                unavailable(&format!("the response is not one of {service} (HTTP {status})"));
            failure.retry_after = retry_after(response.raw());
            failure
        }
        SdkError::TimeoutError(_) => unavailable("the request timed out"),
        SdkError::DispatchFailure(dispatch) => match dispatch.as_connector_error() {
            Some(connector) if connector.is_timeout() => unavailable("the connection timed out"),
            _ if causes(error).any(|cause| cause.is::<CredentialsError>()) => {
                unavailable(NO_CREDENTIALS)
            }
            // The last cause is of the system or of TLS. The others can contain URLs.
            _ => {
                let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
                let cause = shown(&cause, CAUSE_LIMIT_CHARS);
                unavailable(&format!(
                    "{service} is unreachable, or the connection was lost ({cause})"
                ))
            }
        },
        _ => unavailable("the settings do not give a valid request"),
    }
}

const NO_CREDENTIALS: &str =
    "no AWS credentials: configure them in the environment, the profile or the role, as for S3";

/// The failure with an error code. Messages of a service are quoted unless they are about credentials: those repeat the
/// request with its session token.
pub(super) fn of_code(
    status: Option<u16>,
    code: Option<&str>,
    message: Option<&str>,
    action: &str,
    right: &str,
) -> SendError {
    let code = code.unwrap_or_default();
    let meaning = meaning(status, code);
    let code = match (code, status) {
        ("", Some(status)) => format!("HTTP {status}"),
        ("", None) => "no error code".to_owned(),
        (code, _) => shown(code, CODE_LIMIT_CHARS),
    };
    let (kind, hint) = match meaning {
        Meaning::Temporary => (SendErrorKind::Unavailable, String::new()),
        Meaning::Credentials => (
            SendErrorKind::Unavailable,
            "; the AWS credentials of this server are not valid, or its clock is wrong".to_owned(),
        ),
        Meaning::Denied => (
            SendErrorKind::Unavailable,
            format!(
                "; the role of this server needs {right}, and the policy of the topic or bus must not deny it"
            ),
        ),
        Meaning::Missing => (
            SendErrorKind::Unavailable,
            "; create it, or correct the target's name, account and region".to_owned(),
        ),
        Meaning::Key => (
            SendErrorKind::Unavailable,
            "; the KMS key of the topic or bus must be enabled, and the role of this server needs kms:GenerateDataKey \
             and kms:Decrypt on it"
                .to_owned(),
        ),
        Meaning::Invalid => (SendErrorKind::Refused, String::new()),
    };
    let message = message.filter(|text| meaning != Meaning::Credentials && !text.is_empty());
    let message = message
        .map_or_else(String::new, |message| format!(": {}", shown(message, MESSAGE_LIMIT_CHARS)));
    SendError::new(kind, format!("cannot {action}: {code}{message}{hint}"))
}

/// The error, its cause, the cause of that, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// How long the service asked to wait.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let seconds: u32 = response.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// A text of a peer as one line of limited length.
fn shown(text: &str, limit_chars: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(limit_chars)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(limit_chars).is_some() {
        shown.push('…');
    }
    shown
}
