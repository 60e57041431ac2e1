//! Errors of the client.

use std::{fmt, io, path::PathBuf, time::Duration};

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{advice::advice, http_status::http_status, printable};

/// The reason of a connection that fails because of TLS (clients/README.md).
const TLS_FAILED: &str = "TLS_FAILED";

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

    /// The server's UPPER_SNAKE reason, such as `EXPORT_NOT_HERE`.
    pub fn reason(&self) -> Option<&str> {
        self.rejection().and_then(|rejection| rejection.reason.as_deref())
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
        // tonic sets a source only if it created the status from a transport error, and uses UNKNOWN
        // for a stream that a proxy ended without a status.
        let has_no_status =
            status.code() == Code::Unknown && status.message().contains("grpc-status");
        // tonic-web uses INTERNAL for a truncated body, with its name in the message.
        let is_truncated_web_stream =
            status.code() == Code::Internal && status.message().starts_with("tonic-web: ");
        let source = std::error::Error::source(&status);
        let advice = source.and_then(advice);
        // A retry changes nothing if the address, the certificate or the protocol is wrong.
        let is_final = advice.is_some_and(|advice| !advice.is_transient);
        let is_transport_failure =
            !is_final && (source.is_some() || has_no_status || is_truncated_web_stream);
        let message = match advice {
            Some(advice) => format!("{}: {}", status.message(), advice.text),
            None => status.message().to_owned(),
        };
        Self {
            code: if is_final { Code::FailedPrecondition } else { status.code() },
            message,
            reason: match is_final {
                true => Some(TLS_FAILED.to_owned()),
                false => details.error_info().map(|info| info.reason.clone()),
            },
            field_violations: violations
                .unwrap_or_default()
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            is_transport_failure,
            http_status: http_status(&details),
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
