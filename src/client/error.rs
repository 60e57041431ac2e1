//! What can go wrong between a client and its server.

use std::{fmt, io, path::PathBuf, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::printable;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's URL can't be used.
    #[error("{url}: {message}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// No connection to the server.
    #[error("can't connect to {url}: {}", root_cause(&**source))]
    Connect {
        /// The server's URL.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refused the call, or the call was lost.
    #[error(transparent)]
    Rejected(#[from] Box<Rejection>),
    /// Nothing was heard of the export for so long that following it was given up. It may go on:
    /// follow it later, or start it again with the same request id.
    #[error("no news of {name} for {} s, it may still go on: {last}", waited.as_secs())]
    LostContact {
        /// exports/{export_id}.
        name: String,
        /// How long nothing came.
        waited: Duration,
        /// The last failure.
        last: Box<Rejection>,
    },
    /// The request is larger than any server takes.
    #[error("the request has {size_bytes} bytes; at most {limit_bytes} can be sent")]
    RequestTooLarge {
        /// The encoded request's size in bytes.
        size_bytes: usize,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// What came is not what the server says the file is.
    #[error("{path} arrived damaged: {message}")]
    Damaged {
        /// The file's path within its bundle.
        path: String,
        /// The difference.
        message: String,
    },
    /// The server broke the protocol.
    #[error("the server sent an answer that makes no sense: {0}")]
    Protocol(&'static str),
    /// An answer that no tara-export server gives, such as a path that leads out of its folder.
    #[error(
        "cannot use the server's answer for {}: {problem}; check the server's address, and that no \
         other program answers there",
        printable(name)
    )]
    Untrusted {
        /// exports/{export_id} or uploads/{upload_id}, as it was requested.
        name: String,
        /// The field, its value, and the violated rule.
        problem: String,
    },
    /// A file that is to be sent can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was downloaded can't be written.
    #[error("can't write: {0}")]
    Write(#[source] io::Error),
}

impl ClientError {
    /// The server's refusal, if that is what happened.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::LostContact { last, .. } => Some(last),
            _ => None,
        }
    }

    /// The gRPC code, if the call came as far as that.
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
    /// What is wrong, for a person.
    pub message: String,
    /// The UPPER_SNAKE reason of `google.rpc.ErrorInfo`.
    pub reason: Option<String>,
    /// Every violated field of `google.rpc.BadRequest`.
    pub field_violations: Vec<FieldViolation>,
    /// How long to wait before trying again, of `google.rpc.RetryInfo`.
    pub retry_delay: Option<Duration>,
    /// Whether the connection or a proxy ended the call, so that the server's answer is unknown.
    is_transport_failure: bool,
}

/// One field of a bad request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Rejection {
    /// Whether the same may work a moment later: the server is away, or the call was cut.
    pub fn is_unavailable(&self) -> bool {
        self.code == Code::Unavailable || self.is_transport_failure
    }

    /// A call that had no answer in time.
    pub(super) fn late(deadline: Duration) -> Self {
        Status::deadline_exceeded(format!("no answer within {} s", deadline.as_secs())).into()
    }

    /// A call that was cut without a status.
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Status::unavailable(message).into()
    }
}

impl From<Status> for Rejection {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        // tonic keeps a source only where it made the status itself out of a transport error, and
        // answers UNKNOWN for a stream that a proxy ended without any status.
        let has_no_status =
            status.code() == Code::Unknown && status.message().contains("grpc-status");
        // tonic-web makes INTERNAL of whatever ends a body too early, and names itself.
        let is_cut_web_stream =
            status.code() == Code::Internal && status.message().starts_with("tonic-web: ");
        let has_source = std::error::Error::source(&status).is_some();
        let is_transport_failure = has_source || has_no_status || is_cut_web_stream;
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: details.error_info().map(|info| info.reason.clone()),
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
            write!(formatter, "\n  try again in {} s", delay.as_secs_f64().ceil())?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

/// The innermost cause: transport errors hide "connection refused" two levels down.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
