//! Putting objects: written aside, checked, fsynced, and published without ever replacing.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{
    super::{ObjectKey, Payload, PutOutcome, StoreError, StoreErrorKind},
    LocalStore, TEMPORARY,
    failure::write_failure,
    is_reserved, sync_directory,
};
use crate::digest::Sha256Hasher;

/// How much is written at a time: small enough for smooth progress, large enough to be fast.
const PIECE_BYTES: usize = 1024 * 1024;

impl LocalStore {
    pub(super) fn write(
        &self,
        key: &ObjectKey,
        payload: &Payload,
    ) -> Result<PutOutcome, StoreError> {
        if is_reserved(key.as_str()) {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{key} is kept for the service's own files and can't hold an object"),
            ));
        }
        self.require_folder()?;
        let path = self.path(key);
        if self.exists(&path)? {
            return Ok(PutOutcome::Exists);
        }
        let file = self.write_aside(&path, payload)?;
        self.publish(file, &path)
    }

    /// What lies in the root's place and is no folder keeps everything from being written until an
    /// operator moves it, as a full disk does.
    fn require_folder(&self) -> Result<(), StoreError> {
        if fs::metadata(&self.root).is_ok_and(|metadata| !metadata.is_dir()) {
            let message = format!("{} is a file, not a folder: move it away", self.root.display());
            return Err(StoreError::new(StoreErrorKind::Full, message));
        }
        Ok(())
    }

    /// Whether the key holds an object, which is durable then: an earlier attempt may have died
    /// between publishing and the folder's fsync.
    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.directories.sync_way_to(path)?;
                Ok(true)
            }
            Ok(_) => Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{} is in the way: it is no plain file", path.display()),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(write_failure("look for", path, error)),
        }
    }

    /// Writes the payload into a temporary file, checked against its digest and durable.
    pub(super) fn write_aside(
        &self,
        path: &Path,
        payload: &Payload,
    ) -> Result<NamedTempFile, StoreError> {
        let folder = self.root.join(TEMPORARY);
        self.directories.ensure(&folder)?;
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // As any new file, within the operator's umask; the crate's own default is the owner alone.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder
            .tempfile_in(&folder)
            .map_err(|error| write_failure("make a file in", &folder, error))?;
        let mut hasher = Sha256Hasher::default();
        let mut written_bytes = 0;
        for piece in payload.bytes.chunks(PIECE_BYTES) {
            file.write_all(piece).map_err(|error| write_failure("write", path, error))?;
            hasher.update(piece);
            written_bytes += piece.len() as u64;
            if let Some(progress) = &payload.progress {
                progress(written_bytes);
            }
        }
        if hasher.finish() != payload.sha256 {
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!(
                    "what came for {} hasn't the digest it should have; nothing was stored",
                    path.display()
                ),
            ));
        }
        file.as_file().sync_all().map_err(|error| write_failure("sync", path, error))?;
        Ok(file)
    }

    /// Gives a finished file its name unless the name is taken, durably. Of several at once, one
    /// wins.
    pub(super) fn publish(
        &self,
        file: NamedTempFile,
        path: &Path,
    ) -> Result<PutOutcome, StoreError> {
        // Keys have at least one part below the root.
        let folder = path.parent().unwrap_or(&self.root);
        self.directories.ensure(folder)?;
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return if self.exists(path)? {
                    Ok(PutOutcome::Exists)
                } else {
                    // Somebody removed it in between, which the service itself never does.
                    Err(write_failure("publish", path, error.error))
                };
            }
            Err(error) => return Err(write_failure("publish", path, error.error)),
        }
        sync_directory(folder).map_err(|error| write_failure("sync the folder", folder, error))?;
        Ok(PutOutcome::Created)
    }
}

/// Removes the files in the folder of unfinished ones.
pub(super) fn clean(folder: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(write_failure("look through", folder, error)),
    };
    let files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| write_failure("look through", folder, error))?;
    for file in files {
        fs::remove_file(&file).map_err(|error| write_failure("remove", &file, error))?;
    }
    Ok(())
}
