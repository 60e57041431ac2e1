//! Reading objects.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use tara_export_disk::DiskError;
use tara_export_failpoint::failpoint;

use super::{
    super::{Object, ObjectInfo, ObjectKey, StoreError, StoreErrorKind},
    LocalStore, blocking, is_reserved,
    shards::{index_name, places},
};

/// The number of bytes read at a time, and the maximum that an idle reader holds in memory.
const PIECE_BYTES: u64 = 256 * 1024;

impl LocalStore {
    /// Looks up an object and its path.
    pub(super) fn look_up(&self, key: &ObjectKey) -> Result<(ObjectInfo, PathBuf), StoreError> {
        if is_reserved(key.as_str()) {
            return Err(missing(&self.path(key)));
        }
        let mut first_error = None;
        for place in places(key.as_str()) {
            match self.look_up_place(&place) {
                Err(error) if error.kind() == StoreErrorKind::NotFound => {
                    first_error.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(first_error.unwrap_or_else(|| missing(&self.path(key))))
    }

    /// Looks up the object with this path below the root.
    fn look_up_place(&self, place: &str) -> Result<(ObjectInfo, PathBuf), StoreError> {
        let path = self.root().join(place);
        if self.has_symlink_parent(place) {
            return Err(missing(&path));
        }
        let metadata = fs::symlink_metadata(&path)
            .map_err(|error| DiskError::of_read("read", &path, error))?;
        if !metadata.is_file() {
            return Err(missing(&path));
        }
        Ok((info(&metadata), path))
    }

    /// Whether a parent folder of this path below the root is a symbolic link, which could lead out of the store.
    pub(super) fn has_symlink_parent(&self, place: &str) -> bool {
        place.match_indices('/').any(|(end, _)| {
            let folder = self.root().join(&place[..end]);
            fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink())
        })
    }

    /// Opens an object. An index entry may be moved once between its lookup and its opening.
    pub(super) fn open_object(&self, key: &ObjectKey) -> Result<(File, PathBuf), StoreError> {
        let open = || {
            let (_, path) = self.look_up(key)?;
            match failpoint!("disk.file.read", &path, File::open(&path)) {
                Ok(file) => Ok((file, path)),
                Err(error) => Err(StoreError::from(DiskError::of_read("open", &path, error))),
            }
        };
        match open() {
            Err(error)
                if error.kind() == StoreErrorKind::NotFound
                    && index_name(key.as_str()).is_some() =>
            {
                open()
            }
            opened => opened,
        }
    }

    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        let (info, reader) = blocking(&self.readers, move || {
            let (file, path) = store.open_object(&key)?;
            let metadata =
                file.metadata().map_err(|error| DiskError::of_read("read", &path, error))?;
            let info = info(&metadata);
            let remaining_bytes = info.size_bytes;
            Ok((info, Reader { file, path, remaining_bytes }))
        })
        .await?;
        // Each piece is read on demand, so a slow reader does not hold a thread.
        let readers = self.readers.clone();
        let body = stream::try_unfold(reader, move |reader| {
            let readers = readers.clone();
            async move { blocking(&readers, move || reader.next()).await }
        })
        .boxed();
        Ok(Object { info, body })
    }
}

fn missing(path: &Path) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("{} does not exist", path.display()))
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
        let piece_bytes = self.remaining_bytes.min(PIECE_BYTES);
        let mut file = (&self.file).take(piece_bytes);
        failpoint!("disk.file.read", &self.path, file.read_to_end(&mut piece))
            .map_err(|error| DiskError::of_read("read", &self.path, error))?;
        if piece.len() as u64 != piece_bytes {
            let error = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!("cannot read {}: the file was truncated meanwhile", self.path.display()),
            )
            .with_source(error));
        }
        self.remaining_bytes -= piece_bytes;
        Ok(Some((piece.into(), self)))
    }
}
