//! Where an issuer's keys come from: a file, or the address where it publishes them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{AuthSetupError, file::WatchedFile, keys::KeySet, published::PublishedKeys};

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A JWK set on disk (`JWT_JWKS_FILE`).
    File(PathBuf),
    /// A JWK set by HTTP (`JWT_JWKS_URL`).
    Url {
        /// Its address.
        url: String,
        /// How often it is asked.
        refresh: Duration,
    },
}

/// The keys of an issuer, as they are now.
#[derive(Debug)]
pub(super) enum IssuerKeys {
    File(WatchedFile<KeySet>),
    Published(Box<PublishedKeys>),
}

impl IssuerKeys {
    pub(super) async fn open(source: KeySource) -> Result<Self, AuthSetupError> {
        match source {
            KeySource::File(path) => {
                WatchedFile::open("JWT_JWKS_FILE", path, KeySet::parse).map(Self::File)
            }
            KeySource::Url { url, refresh } => {
                PublishedKeys::open(&url, refresh).await.map(|keys| Self::Published(Box::new(keys)))
            }
        }
    }

    /// None where they could not be had yet.
    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::File(file) => Some(file.value()),
            Self::Published(published) => published.known(),
        }
    }

    /// The keys again, after one was looked for in vain: the issuer may have a new one.
    pub(super) async fn look_again(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::File(file) => file.refresh(),
            Self::Published(published) => published.look_again().await,
        }
        self.known()
    }

    pub(super) async fn refresh(&self) {
        match self {
            Self::File(file) => file.refresh(),
            Self::Published(published) => published.refresh().await,
        }
    }
}
