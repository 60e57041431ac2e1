//! The files in a folder. Folders in it, such as `lost+found`, are those of a file system or an operator.

use std::{
    ffi::OsString,
    fs::{self, DirEntry, Metadata},
    io,
    path::{Path, PathBuf},
};

use super::DiskError;

/// Whether a directory entry can be a file of this service. Opening a pipe would block.
fn is_plain(file_type: fs::FileType) -> bool {
    file_type.is_file() || file_type.is_symlink()
}

/// A directory entry that is not a folder.
#[derive(Debug)]
pub struct PlainFile {
    /// Its path.
    pub path: PathBuf,
    /// Its name.
    pub name: OsString,
    /// Its metadata, of a symbolic link those of the link.
    pub metadata: Metadata,
}

/// The files in a folder, without its subfolders. A missing folder is empty. The iterator ends after an error.
///
/// # Errors
/// If the folder cannot be listed.
pub fn plain_files(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<PlainFile, DiskError>> + '_, DiskError> {
    let failed = move |error| DiskError::of_read("list", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    Ok(entries.into_iter().flatten().filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(failed(error))),
        };
        match entry.metadata() {
            Ok(metadata) if !is_plain(metadata.file_type()) => None,
            Ok(metadata) => {
                Some(Ok(PlainFile { path: entry.path(), name: entry.file_name(), metadata }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(failed(error))),
        }
    }))
}

/// The names of the files in a folder, without its subfolders. Does not read file metadata, which is expensive in a
/// large folder. A missing folder is empty. The iterator ends after an error.
///
/// # Errors
/// If the folder cannot be listed.
pub fn plain_names(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<OsString, DiskError>> + '_, DiskError> {
    let failed = move |error| DiskError::of_read("list", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    Ok(entries
        .into_iter()
        .flatten()
        .filter_map(move |entry| plain_name(entry).map_err(failed).transpose()))
}

/// The name of a directory entry, unless it is a folder.
///
/// # Errors
/// If the entry cannot be read.
pub fn plain_name(entry: io::Result<DirEntry>) -> io::Result<Option<OsString>> {
    let entry = entry?;
    match entry.file_type() {
        Ok(file_type) if !is_plain(file_type) => Ok(None),
        Ok(_) => Ok(Some(entry.file_name())),
        // The listing did not include its type, and the file was removed since.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
