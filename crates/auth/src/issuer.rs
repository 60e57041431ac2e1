//! The source of an issuer's keys: a file, or the URL where the issuer publishes them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tara_export_limits::Pool;

use super::{
    AuthSetupError, access::AccessFiles, file::WatchedFile, keys::KeySet, published::PublishedKeys,
};

/// The source of an issuer's keys.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A JWK set on disk (`JWT_JWKS_FILE`).
    File(PathBuf),
    /// A JWK set that is fetched by HTTP.
    Published {
        /// Where it is.
        location: KeyLocation,
        /// How often it is fetched.
        refresh: Duration,
        /// The certificate authorities that verify its server (PEM), instead of this machine's. Read with each fetch.
        authorities_file: Option<PathBuf>,
        /// A file with the bearer token that its server requires. Read with each fetch.
        token_file: Option<PathBuf>,
    },
}

/// Where an issuer publishes its keys.
#[derive(Debug, Clone)]
pub enum KeyLocation {
    /// A URL (`JWT_JWKS_URL`).
    Url(String),
    /// The URL that the metadata of this issuer name (OpenID Connect Discovery 1.0, section 4).
    Issuer(String),
}

/// What is known of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysState {
    /// The setting and the file or URL of the keys.
    pub source: String,
    /// The number of keys that can verify tokens. 0 if they were not fetched yet.
    pub keys: usize,
    /// How long ago they were fetched. `None` for a file, and if they were not fetched yet.
    pub age: Option<Duration>,
    /// Why the last fetch failed.
    pub error: Option<String>,
}

/// The current keys of an issuer.
#[derive(Debug)]
pub(super) enum IssuerKeys {
    File { file: Arc<WatchedFile<KeySet>>, reader: Pool },
    Published(Arc<PublishedKeys>),
}

impl IssuerKeys {
    pub(super) async fn open(source: KeySource, reader: Pool) -> Result<Self, AuthSetupError> {
        match source {
            KeySource::File(path) => {
                let file = WatchedFile::open("JWT_JWKS_FILE", path, KeySet::parse)?;
                Ok(Self::File { file: Arc::new(file), reader })
            }
            KeySource::Published { location, refresh, authorities_file, token_file } => {
                let files = AccessFiles::new(authorities_file, token_file)?;
                let keys = PublishedKeys::open(location, refresh, files).await?;
                Ok(Self::Published(Arc::new(keys)))
            }
        }
    }

    /// The current keys; `None` if they were not fetched yet.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::File { file, .. } => Some(file.value()),
            Self::Published(published) => published.current(),
        }
    }

    pub(super) fn state(&self) -> KeysState {
        match self {
            Self::File { file, .. } => KeysState {
                source: file.to_string(),
                keys: file.value().len(),
                age: None,
                error: file.last_error(),
            },
            Self::Published(published) => published.state(),
        }
    }

    /// Fetches the keys again after a token's key was not found: the issuer may have a new one. The source is
    /// read at most once per interval, regardless of the number of callers.
    pub(super) async fn refresh_after_miss(&self, now: Instant) -> Option<Arc<KeySet>> {
        match self {
            Self::File { file, reader } => file.refresh_after_miss(reader, now).await,
            Self::Published(published) => published.refresh_after_miss(now).await,
        }
        self.current()
    }

    pub(super) async fn refresh(&self) {
        match self {
            Self::File { file, .. } => file.refresh(),
            Self::Published(published) => published.refresh().await,
        }
    }
}
