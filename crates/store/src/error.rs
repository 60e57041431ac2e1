//! Errors of store operations.

use std::{error::Error, fmt};

use tara_export_disk::{DiskError, DiskErrorKind};

/// The kind of a failure: the action that the caller should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The key has no object.
    NotFound,
    /// The pinned object was replaced or removed. Retrying does not help.
    Changed,
    /// The store is slow, overloaded or unreachable, or the response was cut off: retry after a pause.
    Unavailable,
    /// The store refuses this service's own credentials or rights: an operator must act. Not an error of the
    /// service's caller.
    Denied,
    /// The bucket, region, key or a setting is wrong: an operator must act.
    Misconfigured,
    /// The object is in an archive and cannot be read until an operator restores it. Other objects are not
    /// affected.
    Archived,
    /// The store is full or not writable: an operator must free space. Reading still works.
    Full,
    /// The bytes read are not the bytes written: do not use them.
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

/// The cause of a failure, if known. More specific than [`StoreErrorKind`], for diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCause {
    /// The store requests a lower request rate.
    Throttled,
    /// An internal error of the store.
    ServerError,
    /// The response timed out, or the transfer stalled.
    Timeout,
    /// The connection failed or was lost.
    Connection,
    /// A concurrent change of the same key.
    Conflict,
    /// Bytes were damaged in transit, in either direction.
    Damaged,
    /// The service has no credentials, or the store does not accept them. Affects every object.
    Credentials,
    /// This machine's disk could not read the bytes to send: not a failure of the store.
    Disk,
    /// Any other cause.
    Other,
}

impl FailureCause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Throttled,
        Self::ServerError,
        Self::Timeout,
        Self::Connection,
        Self::Conflict,
        Self::Damaged,
        Self::Credentials,
        Self::Disk,
        Self::Other,
    ];

    /// The cause as one word, such as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Conflict => "conflict",
            Self::Damaged => "damaged",
            Self::Credentials => "credentials",
            Self::Disk => "disk",
            Self::Other => "other",
        }
    }
}

impl StoreError {
    /// Creates an error. The message states what failed and where, without secrets.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: FailureCause::Other, source: None }
    }

    /// The bytes sent for an object do not match its digest.
    pub fn digest_mismatch(location: &str) -> Self {
        let message =
            format!("cannot store {location}: the received bytes do not match the expected digest");
        Self::new(StoreErrorKind::Corrupt, message)
    }

    /// A streamed put was requested from a store with multipart uploads.
    pub(crate) fn streams_unsupported(location: &str) -> Self {
        let message =
            format!("cannot store {location} as a stream: this store uses multipart uploads");
        Self::new(StoreErrorKind::Misconfigured, message)
    }

    /// Changes the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: StoreErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: FailureCause) -> Self {
        self.cause = cause;
        self
    }

    /// The cause.
    pub fn cause(&self) -> FailureCause {
        self.cause
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether a retry of the same call may succeed soon.
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
