//! Listing keys in byte order, reading no folder that can't matter.

use std::{fs, io, path::Path};

use super::{
    super::{ListRequest, Listing, ObjectKey, StoreError},
    is_reserved,
};
use crate::disk::DiskError;

/// More of what can be no object is not told of; one asks for few.
const PASSED_OVER_LIMIT: usize = 1_000;

/// Lists the keys below the root.
pub(super) fn list(root: &Path, request: &ListRequest) -> Result<Listing, StoreError> {
    let mut walk = Walk { root, request, found: Vec::new(), passed_over: Vec::new() };
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
    let passed_over = walk.passed_over;
    let (folders, keys) = walk.found.into_iter().partition(|entry| entry.ends_with('/'));
    Ok(Listing { keys, folders, passed_over, more })
}

struct Walk<'a> {
    root: &'a Path,
    request: &'a ListRequest,
    /// Keys, and folded folders ending with `/`, in order. One more than wanted tells whether there
    /// is more.
    found: Vec<String>,
    /// What can be no object, as far as it was met.
    passed_over: Vec<String>,
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
        let Entries { keys, passed_over } =
            entries(self.root, prefix, |entry| self.matters(entry))?;
        let room = PASSED_OVER_LIMIT.saturating_sub(self.passed_over.len());
        self.passed_over.extend(passed_over.into_iter().take(room));
        for entry in keys {
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
    for entry in entries(root, prefix, |_| true)?.keys {
        if !entry.ends_with('/') || holds_an_object(root, &entry)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What one folder holds.
#[derive(Default)]
struct Entries {
    keys: Vec<String>,
    /// What can be no object, as text.
    passed_over: Vec<String>,
}

/// The wanted entries of one folder as full keys, those of folders with a `/` behind. That makes
/// their order the order of the keys below: `a-b` before `a/b`, since `-` is less than `/`.
fn entries(
    root: &Path,
    prefix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Entries, StoreError> {
    let path = root.join(prefix);
    let failed = |error| StoreError::from(DiskError::of_read("list", &path, error));
    let directory = match fs::read_dir(&path) {
        Ok(directory) => directory,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Entries::default());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut entries = Entries::default();
    for entry in directory {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let mut key = format!("{prefix}{}", name.to_string_lossy());
        if is_reserved(&key) {
            continue;
        }
        let mut can_be_object = name.to_str().is_some() && ObjectKey::new(key.as_str()).is_ok();
        // Symbolic links, sockets and the like are neither files nor folders here.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => key.push('/'),
            Ok(kind) if kind.is_file() => {}
            Ok(_) => can_be_object = false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        if !wanted(&key) {
            continue;
        }
        if can_be_object {
            entries.keys.push(key);
        } else if entries.passed_over.len() < PASSED_OVER_LIMIT {
            entries.passed_over.push(key);
        }
    }
    entries.keys.sort_unstable();
    Ok(entries)
}
