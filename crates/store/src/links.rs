//! Links that let others read an object without credentials of their own. Only S3 supports them.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{ObjectKey, StoreError};

/// A store that can create links to its objects ([`Store::links`](super::Store::links)).
#[async_trait]
pub trait LinkObjects: Send + Sync {
    /// Creates a link to an object. Does not check that the object exists.
    ///
    /// # Errors
    /// If the store has no credentials to sign with, or they have expired.
    async fn link(&self, key: &ObjectKey, request: &LinkRequest) -> Result<Link, StoreError>;

    /// Checks that a download through a link will succeed. Reads at most one byte: an archived object, or one with a
    /// KMS key that the service may not use, can be looked up but not read.
    ///
    /// # Errors
    /// The errors of [`Store::get`](super::Store::get).
    async fn check_readable(&self, key: &ObjectKey) -> Result<(), StoreError>;
}

/// The properties of a link to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRequest {
    /// The lifetime, in whole seconds; at most [`LinkRequest::MAX_TIME_TO_LIVE`].
    pub time_to_live: Duration,
    /// The name to save the file under. Any text: characters that are unsafe in file names are replaced.
    pub file_name: String,
    /// The file's media type.
    pub media_type: String,
}

impl LinkRequest {
    /// The longest lifetime that AWS Signature Version 4 allows (Amazon S3 API Reference, "Authenticating
    /// Requests: Using Query Parameters").
    pub const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
}

/// A link to an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// The URL of a GET request that needs no other credentials. Secret: it grants read access.
    pub uri: String,
    /// The expiry time: the end of the lifetime, or of the signing credentials if that is earlier.
    pub expire_time: DateTime<Utc>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Link")
            .field("expire_time", &self.expire_time)
            .finish_non_exhaustive()
    }
}
