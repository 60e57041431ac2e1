//! Reading a bundle's files, each byte held against the manifest.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt as _, stream};

use super::ExportArtifact;
use crate::{
    digest::Sha256Hasher,
    store::{Object, ObjectKey, Store, StoreError, StoreErrorKind},
};

/// Why something of a bundle can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not what the manifest says.
    #[error("{location} is not what its manifest says: {difference}")]
    DataLoss {
        /// Where.
        location: String,
        /// How it differs.
        difference: String,
    },
    /// The manifest lists no such file.
    #[error("{folder} has no file {path}")]
    NoSuchArtifact {
        /// What was asked for.
        path: String,
        /// The bundle's folder.
        folder: String,
    },
}

impl ReadError {
    /// Whether what is stored is not what was written; no other try helps.
    pub fn is_data_loss(&self) -> bool {
        match self {
            Self::DataLoss { .. } => true,
            Self::Store(error) => error.kind() == StoreErrorKind::Corrupt,
            Self::NoSuchArtifact { .. } => false,
        }
    }
}

/// An object that differs from what a manifest says of it.
pub(super) fn data_loss(
    store: &dyn Store,
    key: &ObjectKey,
    difference: impl Into<String>,
) -> ReadError {
    ReadError::DataLoss { location: store.location(key.as_str()), difference: difference.into() }
}

/// An open file of a bundle. Its bytes end with an error unless they are what the manifest says;
/// until then they are not to be believed.
pub struct VerifiedArtifact {
    expected: ExportArtifact,
    location: String,
    object: Object,
}

impl VerifiedArtifact {
    /// Opens the object that should be this artifact.
    pub async fn open(
        store: &dyn Store,
        key: &ObjectKey,
        expected: ExportArtifact,
    ) -> Result<Self, ReadError> {
        let object = match store.get(key).await {
            Ok(object) => object,
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                return Err(data_loss(store, key, "the file is gone"));
            }
            Err(error) => return Err(error.into()),
        };
        let size_bytes = object.info.size_bytes;
        if size_bytes != expected.size_bytes {
            let difference =
                format!("it has {size_bytes} bytes instead of {}", expected.size_bytes);
            return Err(data_loss(store, key, difference));
        }
        Ok(Self { expected, location: store.location(key.as_str()), object })
    }

    /// What the manifest says of the file.
    pub fn artifact(&self) -> &ExportArtifact {
        &self.expected
    }

    /// When the file was written, by the store's clock.
    pub fn modified_time(&self) -> Option<DateTime<Utc>> {
        self.object.info.modified_time
    }

    /// The file's bytes from this offset on. The bytes before it are read and digested too: without
    /// them nothing proves the rest.
    pub fn stream_from(self, offset: u64) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
        struct State {
            reader: VerifiedArtifact,
            hasher: Option<Sha256Hasher>,
            position: u64,
        }
        let state = State { reader: self, hasher: Some(Sha256Hasher::default()), position: 0 };
        stream::try_unfold(state, move |mut state| async move {
            loop {
                let Some(hasher) = state.hasher.as_mut() else { return Ok(None) };
                if let Some(piece) = state.reader.object.body.try_next().await? {
                    hasher.update(&piece);
                    let start = state.position;
                    state.position += piece.len() as u64;
                    let skipped = offset.saturating_sub(start).min(piece.len() as u64) as usize;
                    if skipped < piece.len() {
                        return Ok(Some((piece.slice(skipped..), state)));
                    }
                } else {
                    let sha256 = state.hasher.take().unwrap_or_default().finish();
                    state.reader.verify(state.position, sha256)?;
                }
            }
        })
    }

    /// The whole file in memory: the caller has looked at its size.
    pub async fn read_all(self) -> Result<Bytes, ReadError> {
        let mut bytes = Vec::with_capacity(self.expected.size_bytes as usize);
        let mut pieces = std::pin::pin!(self.stream_from(0));
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    fn verify(&self, size_bytes: u64, sha256: crate::digest::Sha256) -> Result<(), ReadError> {
        let difference = if size_bytes != self.expected.size_bytes {
            format!("it has {size_bytes} bytes instead of {}", self.expected.size_bytes)
        } else if sha256 != self.expected.sha256 {
            format!("its SHA-256 is {sha256} instead of {}", self.expected.sha256)
        } else {
            return Ok(());
        };
        Err(ReadError::DataLoss { location: self.location.clone(), difference })
    }
}
