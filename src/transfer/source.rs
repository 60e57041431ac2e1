//! Where large content comes from.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    digest::{ContentChecksums, ContentHasher},
    disk::DiskError,
    store::{SourceObject, Store, StoreError, StoreErrorKind},
};

/// Read from a file at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Content that can be read from its beginning as often as it takes.
#[derive(Debug, Clone)]
pub enum ContentSource {
    /// In memory.
    Memory(Bytes),
    /// A file that nobody changes any more.
    File(PathBuf),
    /// A pinned object of S3.
    Object {
        /// The store that reaches it.
        store: Arc<dyn Store>,
        /// The object.
        source: SourceObject,
    },
}

impl ContentSource {
    /// The content's bytes, in pieces of about a mebibyte.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] where the source is gone, or not what it was.
    pub async fn open(&self) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        match self {
            Self::Memory(bytes) => {
                let mut rest = bytes.clone();
                let pieces = std::iter::from_fn(move || {
                    (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(PIECE_BYTES))))
                });
                Ok(stream::iter(pieces).boxed())
            }
            Self::File(path) => {
                let failed = |error: std::io::Error, path: &PathBuf| {
                    let is_gone = error.kind() == std::io::ErrorKind::NotFound;
                    let error = StoreError::from(DiskError::of_read("read", path, error));
                    if is_gone { error.with_kind(StoreErrorKind::Changed) } else { error }
                };
                let file = File::open(path).await.map_err(|error| failed(error, path))?;
                let state = (file, path.clone());
                let pieces = stream::try_unfold(state, move |(mut file, path)| async move {
                    let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
                    let read = file.read_buf(&mut piece).await;
                    match read.map_err(|error| failed(error, &path))? {
                        0 => Ok(None),
                        _ => Ok(Some((piece.freeze(), (file, path)))),
                    }
                });
                Ok(pieces.boxed())
            }
            Self::Object { store, source } => match store.parts() {
                Some(parts) => Ok(parts.read_source(source).await?.body),
                None => Err(StoreError::new(
                    StoreErrorKind::Misconfigured,
                    format!("{} can't be read from {}", source.location, store.kind()),
                )),
            },
        }
    }
}

/// Digests a stream to its end. `moved` hears of every piece.
///
/// # Errors
/// The stream's.
pub async fn checksums_of(
    mut pieces: BoxStream<'static, Result<Bytes, StoreError>>,
    moved: impl Fn(),
) -> Result<ContentChecksums, StoreError> {
    let mut hasher = ContentHasher::default();
    while let Some(piece) = pieces.try_next().await? {
        hasher.update(&piece);
        moved();
    }
    Ok(hasher.finish())
}
