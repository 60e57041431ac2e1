//! Listing keys in byte order, reading no folder that can't matter.

use std::{fs, io, path::Path};

use super::{
    super::{ListRequest, Listing, ObjectKey, StoreError},
    is_reserved,
};
use crate::disk::DiskError;

/// Lists the keys below the root.
pub(super) fn list(root: &Path, request: &ListRequest) -> Result<Listing, StoreError> {
    let mut walk = Walk { root, request, found: Vec::new() };
    // The folder that all wanted keys lie in, as a prefix: empty or ending with `/`.
    let start = match request.prefix.rfind('/') {
        Some(end) => &request.prefix[..=end],
        None => "",
    };
    if walk.may_enter(start) {
        walk.folder(start)?;
    }
    let more = walk.found.len() > request.limit;
    walk.found.truncate(request.limit);
    let (folders, keys) = walk.found.into_iter().partition(|entry| entry.ends_with('/'));
    Ok(Listing { keys, folders, more })
}

struct Walk<'a> {
    root: &'a Path,
    request: &'a ListRequest,
    /// Keys, and folded folders ending with `/`, in order. One more than wanted tells whether there
    /// is more.
    found: Vec<String>,
}

impl Walk<'_> {
    /// Whether the folder of this prefix belongs to the store: a valid key, not reserved, and not
    /// reached through a symbolic link.
    fn may_enter(&self, prefix: &str) -> bool {
        let Some(key) = prefix.strip_suffix('/') else {
            return prefix.is_empty();
        };
        ObjectKey::new(key).is_ok()
            && !is_reserved(prefix)
            && prefix.match_indices('/').all(|(end, _)| {
                let metadata = fs::symlink_metadata(self.root.join(&prefix[..end]));
                !metadata.is_ok_and(|metadata| metadata.is_symlink())
            })
    }

    fn is_full(&self) -> bool {
        self.found.len() > self.request.limit
    }

    /// Takes the keys of one folder. `prefix` is empty or ends with `/`.
    fn folder(&mut self, prefix: &str) -> Result<(), StoreError> {
        for entry in entries(self.root, prefix, |entry| self.matters(entry))? {
            if self.is_full() {
                break;
            }
            if !entry.ends_with('/') {
                self.found.push(entry);
            } else if !self.request.delimited {
                self.folder(&entry)?;
            } else if holds_an_object(self.root, &entry)? {
                self.found.push(entry);
            }
        }
        Ok(())
    }

    /// Whether a key, or a folder ending with `/`, can lead to a wanted key.
    fn matters(&self, entry: &str) -> bool {
        if !entry.starts_with(&self.request.prefix) {
            return false;
        }
        let Some(start_after) = self.request.start_after.as_deref() else {
            return true;
        };
        let holds_start = entry.ends_with('/') && start_after.starts_with(entry);
        entry > start_after || (holds_start && !self.request.delimited)
    }
}

/// Whether any key lies below: stores have no empty folders, disks do, after a crash say.
fn holds_an_object(root: &Path, prefix: &str) -> Result<bool, StoreError> {
    for entry in entries(root, prefix, |_| true)? {
        if !entry.ends_with('/') || holds_an_object(root, &entry)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The wanted entries of one folder as full keys, those of folders with a `/` behind. That makes
/// their order the order of the keys below: `a-b` before `a/b`, since `-` is less than `/`.
fn entries(
    root: &Path,
    prefix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, StoreError> {
    let path = root.join(prefix);
    let failed = |error| StoreError::from(DiskError::of_read("list", &path, error));
    let directory = match fs::read_dir(&path) {
        Ok(directory) => directory,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut entries = Vec::new();
    for entry in directory {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(mut key) = name.to_str().map(|name| format!("{prefix}{name}")) else {
            continue;
        };
        if ObjectKey::new(key.as_str()).is_err() || is_reserved(&key) {
            continue;
        }
        // Symbolic links, sockets and the like are neither files nor folders here.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => key.push('/'),
            Ok(kind) if kind.is_file() => {}
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        if wanted(&key) {
            entries.push(key);
        }
    }
    entries.sort_unstable();
    Ok(entries)
}
