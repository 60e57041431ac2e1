//! Links by which others read an object without rights of their own: an ability of S3 alone.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{ObjectKey, StoreError};

/// A store whose objects can be linked to ([`Store::links`](super::Store::links)).
#[async_trait]
pub trait LinkObjects: Send + Sync {
    /// A link to an object, which nobody looks for: a link to nothing is made just as well.
    ///
    /// # Errors
    /// Where the store has no credentials to sign with, or none that live any longer.
    async fn link(&self, key: &ObjectKey, wish: &LinkWish) -> Result<Link, StoreError>;
}

/// What a link is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkWish {
    /// How long it is to live, in whole seconds; at most [`LinkWish::LONGEST`].
    pub time_to_live: Duration,
    /// The name to save the file under. Any text: what is not safe in a file's name is replaced.
    pub file_name: String,
    /// The file's media type.
    pub media_type: String,
}

impl LinkWish {
    /// The longest a link can live: what AWS Signature Version 4 allows (Amazon S3 API Reference,
    /// "Authenticating Requests: Using Query Parameters").
    pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
}

/// A link.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// The URL of a GET request that needs no other credentials. Secret: whoever has it can read.
    pub uri: String,
    /// When the link dies: after its time to live, or with the credentials it was signed with.
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
