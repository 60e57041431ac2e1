//! Sources of large content.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use tara_export_digest::{ContentChecksums, ContentHasher};
use tara_export_disk::DiskError;
use tara_export_failpoint::failpoint;
use tara_export_limits::Pool;
use tara_export_store::{FailureCause, SourceObject, Store, StoreError, StoreErrorKind};

/// Size of one read from a file.
const PIECE_BYTES: usize = 1024 * 1024;

/// Content that can be read from the beginning repeatedly.
#[derive(Debug, Clone)]
pub enum ContentSource {
    /// In memory.
    Memory(Bytes),
    /// A file that does not change.
    File(PathBuf),
    /// A pinned object in S3.
    Object {
        /// A store that can read the object.
        store: Arc<dyn Store>,
        /// The object.
        source: SourceObject,
    },
}

impl ContentSource {
    /// The content in pieces of about 1 MiB. Files are read on the threads of `files`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] if the source is gone or has changed.
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
                    format!("cannot read {} from {}", source.location, store.kind()),
                )),
            },
        }
    }
}

/// Reads a file on one of the threads of `files`.
async fn read<T: Send + 'static>(
    files: &Pool,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let read = files.run(work).await.map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        StoreError::new(StoreErrorKind::Unavailable, message).with_source(error)
    })?;
    failpoint!("disk.file.read", path, read).map_err(|error| {
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        let error = StoreError::from(DiskError::of_read("read", path, error));
        let error = error.with_cause(FailureCause::Disk);
        if is_gone { error.with_kind(StoreErrorKind::Changed) } else { error }
    })
}

/// Reads a stream to its end and computes its checksums. Calls `on_piece` for every piece.
///
/// # Errors
/// The stream's error.
pub async fn checksums_of(
    mut pieces: BoxStream<'static, Result<Bytes, StoreError>>,
    on_piece: impl Fn(),
) -> Result<ContentChecksums, StoreError> {
    let mut hasher = ContentHasher::default();
    while let Some(piece) = pieces.try_next().await? {
        hasher.update(&piece);
        on_piece();
    }
    Ok(hasher.finish())
}
