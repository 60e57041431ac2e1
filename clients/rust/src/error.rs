//! Errors of the client.

use std::{fmt, io, path::PathBuf, time::Duration};

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    advice::advice,
    http_status::{INVALID_RESPONSE, http_status},
    printable,
};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's URL is invalid.
    #[error("{url}: {message}")]
    Url {
        /// The URL that the caller passed.
        url: String,
        /// The problem.
        message: String,
    },
    /// The connection to the server failed.
    #[error("cannot connect to {url}: {}", cause_and_advice(&**source))]
    Connect {
        /// The server's URL.
        url: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server rejected the call, or the connection was lost.
    #[error(transparent)]
    Rejected(#[from] Box<Rejection>),
    /// No progress within the timeout, so the client stopped following. The export may continue:
    /// follow it later, or start it again with the same request id.
    #[error("no progress of {name} for {} s, it may still be running: {last}", waited.as_secs())]
    LostContact {
        /// exports/{export_id}.
        name: String,
        /// The time since the last progress.
        waited: Duration,
        /// The last failure.
        last: Box<Rejection>,
    },
    /// The request is larger than any server accepts.
    #[error("the request has {size_bytes} bytes; at most {limit_bytes} can be sent")]
    RequestTooLarge {
        /// The encoded request's size in bytes.
        size_bytes: usize,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The received bytes do not match the size or digest that the server reported.
    #[error("{path} is damaged: {message}")]
    Damaged {
        /// The file's path within its bundle.
        path: String,
        /// The difference.
        message: String,
    },
    /// The server violated the protocol.
    #[error("invalid response from the server: {0}")]
    Protocol(&'static str),
    /// A response that no tara-export server sends, such as a path outside of its folder.
    #[error(
        "cannot use the server's response for {}: {problem}; check the server's address, and that \
         no other program is listening there",
        printable(name)
    )]
    Untrusted {
        /// The requested exports/{export_id} or uploads/{upload_id}.
        name: String,
        /// The field, its value, and the violated rule.
        problem: String,
    },
    /// The token's function failed, or its token cannot be sent.
    #[error("cannot get the token: {0}")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file to upload cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The downloaded bytes cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

impl ClientError {
    /// The server's rejection, if the error has one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::LostContact { last, .. } => Some(last),
            _ => None,
        }
    }

    /// The gRPC code, if the error has one.
    pub fn code(&self) -> Option<Code> {
        self.rejection().map(|rejection| rejection.code)
    }

    /// The server's UPPER_SNAKE reason, such as `EXPORT_NOT_HERE`, or a reason of the client for an error that a retry
    /// cannot fix: `TLS_FAILED`, `HOST_NOT_FOUND`, `INVALID_RESPONSE`, `HTTP_ERROR`, `RESPONSE_TOO_LARGE`,
    /// `REQUEST_TOO_LARGE`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Connect { source, .. } => advice(&**source).map(|known| known.reason),
            Self::RequestTooLarge { .. } => Some("REQUEST_TOO_LARGE"),
            _ => self.rejection().and_then(|rejection| rejection.reason.as_deref()),
        }
    }
}

impl ClientError {
    /// Whether a retry may succeed: the server is unavailable, or the connection was lost.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.is_unavailable())
    }
}

impl From<Rejection> for ClientError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Rejected(Box::new(status.into()))
    }
}

/// A gRPC status with its google.rpc details.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// The gRPC code.
    pub code: Code,
    /// Human-readable description of the problem.
    pub message: String,
    /// The UPPER_SNAKE reason of `google.rpc.ErrorInfo`.
    pub reason: Option<String>,
    /// Every violated field of `google.rpc.BadRequest`.
    pub field_violations: Vec<FieldViolation>,
    /// The delay before a retry, from `google.rpc.RetryInfo`.
    pub retry_delay: Option<Duration>,
    /// Whether the connection or a proxy ended the call, so that the server's response is unknown.
    is_transport_failure: bool,
    /// The HTTP status of a response without a gRPC status, which a proxy sent.
    http_status: Option<StatusCode>,
}

/// One field of a bad request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request.
    pub field: String,
    /// The problem.
    pub description: String,
}

impl Rejection {
    /// Whether a retry may succeed: the server is unavailable, or the connection was lost.
    pub fn is_unavailable(&self) -> bool {
        self.code == Code::Unavailable || self.is_transport_failure
    }

    /// Whether the connection ended, so that the server's response is unknown.
    pub(super) fn is_connection_lost(&self) -> bool {
        self.is_transport_failure
    }

    /// Whether a proxy refused the size of the request.
    pub(super) fn is_too_large_for_proxy(&self) -> bool {
        self.http_status == Some(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// A call without a response before the deadline.
    pub(super) fn deadline_exceeded(deadline: Duration) -> Self {
        Status::deadline_exceeded(format!("no response within {} s", deadline.as_secs())).into()
    }

    /// A call that ended without a status.
    pub(super) fn connection_lost(message: impl Into<String>) -> Self {
        Status::unavailable(message).into()
    }
}

impl From<Status> for Rejection {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let reason = details.error_info().map(|info| info.reason.clone());
        // Every error of the server has a reason.
        let local = if reason.is_none() { Local::of(&status) } else { Local::default() };
        let mut message = status.message().to_owned();
        let source = std::error::Error::source(&status).map(root_cause);
        if let Some(cause) = source.filter(|cause| !message.contains(cause.as_str())) {
            message = format!("{message}: {cause}");
        }
        if let Some(advice) = local.advice {
            message = format!("{message}: {advice}");
        }
        // The server's address, certificate or protocol is wrong: it is no longer a server that is unavailable.
        let is_final = local.reason.is_some() && !local.is_lost;
        let code = match status.code() {
            Code::Unavailable | Code::Unknown if is_final => Code::FailedPrecondition,
            code => code,
        };
        Self {
            code,
            message,
            reason: reason.or(local.reason.filter(|_| is_final).map(ToOwned::to_owned)),
            field_violations: violations
                .unwrap_or_default()
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            is_transport_failure: local.is_lost,
            http_status: http_status(&details),
        }
    }
}

/// The cause of an error that the server did not send: of the connection, of a proxy, or of this client's own
/// libraries.
#[derive(Debug, Clone, Copy, Default)]
struct Local {
    /// Whether a retry may help.
    is_lost: bool,
    /// The reason of an error that a retry cannot fix (clients/README.md).
    reason: Option<&'static str>,
    advice: Option<&'static str>,
}

const CHECK_ADDRESS: &str = "check the server's address, and the proxy in front of it";

impl Local {
    fn of(status: &Status) -> Self {
        // tonic sets a source only if it created the status from a transport error.
        if let Some(source) = std::error::Error::source(status) {
            return match advice(source) {
                Some(known) => Self {
                    is_lost: known.is_transient,
                    reason: Some(known.reason),
                    advice: Some(known.text),
                },
                None => Self { is_lost: true, ..Self::default() },
            };
        }
        let last =
            |reason, advice| Self { is_lost: false, reason: Some(reason), advice: Some(advice) };
        let text = status.message();
        if text.contains("decoded message length too large") {
            return last(
                "RESPONSE_TOO_LARGE",
                "the client accepts 5 MiB: request fewer exports per page, or download a file instead of the report",
            );
        }
        if text.contains("encoded message length too large") {
            return last("REQUEST_TOO_LARGE", "upload large documents before the request");
        }
        if text.contains("Content is compressed with") || text.contains("Error decompressing") {
            return last(
                INVALID_RESPONSE,
                "the compression cannot be read: check the server's address, and the proxy in front of it",
            );
        }
        match status.code() {
            // A stream that a proxy ended without a status.
            Code::Unknown if text.contains("missing grpc-status trailer") => {
                Self { is_lost: true, ..Self::default() }
            }
            // tonic-web's error of a truncated body.
            Code::Internal if text.starts_with("tonic-web: ") => {
                Self { is_lost: true, ..Self::default() }
            }
            Code::Internal | Code::Unknown | Code::DataLoss => {
                last(INVALID_RESPONSE, CHECK_ADDRESS)
            }
            _ => Self::default(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(formatter, "{}", self.code.description())?;
        } else {
            formatter.write_str(&printable(&self.message))?;
        }
        match &self.reason {
            Some(reason) => write!(formatter, " ({:?}, {})", self.code, printable(reason))?,
            None => write!(formatter, " ({:?})", self.code)?,
        }
        for FieldViolation { field, description } in &self.field_violations {
            write!(formatter, "\n  {}: {}", printable(field), printable(description))?;
        }
        if let Some(delay) = self.retry_delay {
            write!(formatter, "\n  retry in {} s", delay.as_secs_f64().ceil())?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

/// The innermost cause, and what to do.
fn cause_and_advice(error: &(dyn std::error::Error + 'static)) -> String {
    match advice(error) {
        Some(advice) => format!("{}: {}", root_cause(error), advice.text),
        None => root_cause(error),
    }
}

/// The innermost cause: in transport errors, "connection refused" is two levels down.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
