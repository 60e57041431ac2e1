//! Where large content comes from.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use crate::{
    digest::{ContentChecksums, ContentHasher},
    disk::DiskError,
    limits::Pool,
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
    /// The content's bytes, in pieces of about a mebibyte. These threads read files.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] where the source is gone, or not what it was.
    pub async fn open(
        &self,
        files: &Pool,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        match self {
            Self::Memory(bytes) => {
                let mut rest = bytes.clone();
                let pieces = std::iter::from_fn(move || {
                    (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(PIECE_BYTES))))
                });
                Ok(stream::iter(pieces).boxed())
            }
            Self::File(path) => {
                let (opened, path) = (path.clone(), path.clone());
                let file = read(files, &path, move || File::open(opened)).await?;
                let files = files.clone();
                let pieces = stream::try_unfold((file, path), move |(file, path)| {
                    let files = files.clone();
                    async move {
                        let next = move || {
                            let mut piece = Vec::with_capacity(PIECE_BYTES);
                            (&file).take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
                            Ok((Bytes::from(piece), file))
                        };
                        let (piece, file) = read(&files, &path, next).await?;
                        Ok((!piece.is_empty()).then_some((piece, (file, path))))
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

/// Reads a file on one of these threads.
async fn read<T: Send + 'static>(
    files: &Pool,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let read = files.run(work).await.map_err(|error| {
        let message = format!("could not read {}: {error}", path.display());
        StoreError::new(StoreErrorKind::Unavailable, message).with_source(error)
    })?;
    read.map_err(|error| {
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        let error = StoreError::from(DiskError::of_read("read", path, error));
        if is_gone { error.with_kind(StoreErrorKind::Changed) } else { error }
    })
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
