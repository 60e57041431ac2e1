//! Reading a bundle's files and verifying them against the manifest.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt as _, stream};
use tara_export_digest::Sha256Hasher;
use tara_export_store::{Object, ObjectKey, Store, StoreError, StoreErrorKind};

use super::ExportArtifact;

/// Why a part of a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored data differs from the manifest.
    #[error("{location} differs from its manifest: {difference}")]
    DataLoss {
        /// The location of the object.
        location: String,
        /// The difference.
        difference: String,
    },
    /// The manifest lists no such file.
    #[error("{folder} has no file {path}")]
    NoSuchArtifact {
        /// The requested path.
        path: String,
        /// The bundle's folder.
        folder: String,
    },
}

impl ReadError {
    /// Whether a retry may succeed soon.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// Whether an object is archived and must be restored first.
    pub fn is_archived(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::Archived)
    }

    /// Whether the stored data was damaged or lost. Retrying does not help.
    pub fn is_data_loss(&self) -> bool {
        match self {
            Self::DataLoss { .. } => true,
            Self::Store(error) => error.kind() == StoreErrorKind::Corrupt,
            Self::NoSuchArtifact { .. } => false,
        }
    }
}

/// The error for an object that differs from its manifest.
pub(super) fn data_loss(
    store: &dyn Store,
    key: &ObjectKey,
    difference: impl Into<String>,
) -> ReadError {
    ReadError::DataLoss { location: store.location(key.as_str()), difference: difference.into() }
}

/// An open file of a bundle. Its stream ends with an error if the bytes differ from the manifest; do
/// not trust them before the stream has ended.
pub struct VerifiedArtifact {
    expected: ExportArtifact,
    location: String,
    object: Object,
}

impl VerifiedArtifact {
    /// Opens the object of this artifact.
    pub async fn open(
        store: &dyn Store,
        key: &ObjectKey,
        expected: ExportArtifact,
    ) -> Result<Self, ReadError> {
        let object = match store.get(key).await {
            Ok(object) => object,
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                return Err(data_loss(store, key, "the file is missing"));
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

    /// The file's entry in the manifest.
    pub fn artifact(&self) -> &ExportArtifact {
        &self.expected
    }

    /// When the file was written, by the store's clock.
    pub fn modified_time(&self) -> Option<DateTime<Utc>> {
        self.object.info.modified_time
    }

    /// The file's bytes from this offset on. The bytes before it are read and hashed too, because only
    /// the digest of the complete file can be verified.
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

    /// Reads the complete file into memory. The caller has checked its size.
    pub async fn read_all(self) -> Result<Bytes, ReadError> {
        let mut bytes = Vec::with_capacity(self.expected.size_bytes as usize);
        let mut pieces = std::pin::pin!(self.stream_from(0));
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    fn verify(&self, size_bytes: u64, sha256: tara_export_digest::Sha256) -> Result<(), ReadError> {
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
