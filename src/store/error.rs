//! Why a store could not do what it was asked.

use std::{error::Error, fmt};

use crate::disk::{DiskError, DiskErrorKind};

/// What the caller should do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The key holds nothing.
    NotFound,
    /// What was pinned is there no more as it was: somebody replaced it. No other try helps.
    Changed,
    /// Slow, overloaded, unreachable, or cut off in mid-answer: try again, with a pause.
    Unavailable,
    /// The store refuses this service's own credentials or rights: an operator must act. Not the
    /// fault of the service's caller.
    Denied,
    /// The bucket, region, key or a setting is wrong: an operator must act.
    Misconfigured,
    /// No room, or nothing can be written: an operator must make room. Reading still works.
    Full,
    /// What was read is not what was written: never use it.
    Corrupt,
}

/// A failed store operation.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    cause: FailureCause,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What lies behind a failure, where it is known: finer than what to do about it, for those who look for
/// patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCause {
    /// The store asks for fewer requests.
    Throttled,
    /// The store has a fault of its own.
    ServerError,
    /// No answer in time, or nothing moved any more.
    Timeout,
    /// No connection, or one that broke.
    Connection,
    /// Somebody else changes the same key right now.
    Conflict,
    /// Bytes came damaged, there or here.
    Damaged,
    /// The source of this service's credentials gave none.
    Credentials,
    /// Something else.
    Other,
}

impl FailureCause {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Conflict => "conflict",
            Self::Damaged => "damaged",
            Self::Credentials => "credentials",
            Self::Other => "other",
        }
    }
}

impl StoreError {
    /// A failure of this kind. The message says what failed and where, and has no secrets.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: FailureCause::Other, source: None }
    }

    /// What was sent for an object is not what its digests say.
    pub(crate) fn other_bytes_came(location: &str) -> Self {
        let message = format!(
            "what came for {location} hasn't the digest it should have; nothing was stored"
        );
        Self::new(StoreErrorKind::Corrupt, message)
    }

    /// The same, of another kind to whoever asked.
    #[must_use]
    pub(crate) fn with_kind(mut self, kind: StoreErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same, with what lies behind it.
    #[must_use]
    pub fn with_cause(mut self, cause: FailureCause) -> Self {
        self.cause = cause;
        self
    }

    /// What lies behind it.
    pub fn cause(&self) -> FailureCause {
        self.cause
    }

    /// The same with the error that it comes from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed by itself before long.
    pub fn is_transient(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> Self {
        let kind = match error.kind() {
            DiskErrorKind::NotFound => StoreErrorKind::NotFound,
            DiskErrorKind::Unavailable => StoreErrorKind::Unavailable,
            DiskErrorKind::Denied => StoreErrorKind::Denied,
            DiskErrorKind::Misconfigured => StoreErrorKind::Misconfigured,
            DiskErrorKind::Full => StoreErrorKind::Full,
        };
        Self::new(kind, error.to_string()).with_source(error.into_source())
    }
}
