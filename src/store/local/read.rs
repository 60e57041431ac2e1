//! Reading objects.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::PathBuf,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};

use super::{
    super::{Object, ObjectInfo, ObjectKey, StoreError, StoreErrorKind},
    LocalStore, blocking, is_reserved,
};
use crate::disk::DiskError;

/// How much is read at a time, and the most a reader that stands still holds in memory.
const PIECE_BYTES: u64 = 256 * 1024;

impl LocalStore {
    /// Finds an object, and its path.
    pub(super) fn look_up(&self, key: &ObjectKey) -> Result<(ObjectInfo, PathBuf), StoreError> {
        let path = self.path(key);
        let missing = || {
            StoreError::new(StoreErrorKind::NotFound, format!("{} is not there", path.display()))
        };
        if is_reserved(key.as_str()) || self.passes_a_link(key) {
            return Err(missing());
        }
        let metadata = fs::symlink_metadata(&path)
            .map_err(|error| DiskError::of_read("read", &path, error))?;
        if !metadata.is_file() {
            return Err(missing());
        }
        Ok((info(&metadata), path))
    }

    /// Whether the way to the object goes over a symbolic link, which could lead out of the store.
    pub(super) fn passes_a_link(&self, key: &ObjectKey) -> bool {
        key.as_str().match_indices('/').any(|(end, _)| {
            let folder = self.root().join(&key.as_str()[..end]);
            fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink())
        })
    }

    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        let (info, reader) = blocking(&self.readers, move || {
            let (_, path) = store.look_up(&key)?;
            let file =
                File::open(&path).map_err(|error| DiskError::of_read("open", &path, error))?;
            let metadata =
                file.metadata().map_err(|error| DiskError::of_read("read", &path, error))?;
            let info = info(&metadata);
            let remaining_bytes = info.size_bytes;
            Ok((info, Reader { file, path, remaining_bytes }))
        })
        .await?;
        // Each piece is read when it is asked for, so a slow reader holds no thread.
        let readers = self.readers.clone();
        let body = stream::try_unfold(reader, move |reader| {
            let readers = readers.clone();
            async move { blocking(&readers, move || reader.next()).await }
        })
        .boxed();
        Ok(Object { info, body })
    }
}

fn info(metadata: &fs::Metadata) -> ObjectInfo {
    ObjectInfo {
        size_bytes: metadata.len(),
        sha256: None,
        crc64nvme: None,
        modified_time: metadata.modified().ok().map(DateTime::<Utc>::from),
    }
}

struct Reader {
    file: File,
    path: PathBuf,
    remaining_bytes: u64,
}

impl Reader {
    fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        if self.remaining_bytes == 0 {
            return Ok(None);
        }
        let mut piece = Vec::new();
        let wanted_bytes = self.remaining_bytes.min(PIECE_BYTES);
        (&self.file)
            .take(wanted_bytes)
            .read_to_end(&mut piece)
            .map_err(|error| DiskError::of_read("read", &self.path, error))?;
        if piece.len() as u64 != wanted_bytes {
            let error = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!("{} became shorter while it was read", self.path.display()),
            )
            .with_source(error));
        }
        self.remaining_bytes -= wanted_bytes;
        Ok(Some((piece.into(), self)))
    }
}
