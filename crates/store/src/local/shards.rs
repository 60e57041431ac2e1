//! Where index entries are on disk: in folders of bounded size, by their times (docs/adr/0030).
//!
//! The key of an index entry is `.tara-export/index/<16 digits>_<folder>`. A folder on disk has no order, so a page of a
//! folder with a million entries costs reading all of them. Therefore an entry is a file in a shard: a folder that is
//! named by the first digits, `.tara-export/index-shards/9982/9982035412345678_<folder>`. If a shard has
//! [`MAX_ENTRIES`], further entries are in shards below it, which have two more digits. Entries in a shard never move.
//!
//! Previous releases stored entries as files in `.tara-export/index/`. [`Store::move_old_files`] moves them. An entry that
//! is moved is first in its old place and then in its shard, so a reader that checks the old place before the shards
//! finds it.
//!
//! [`Store::move_old_files`]: crate::Store::move_old_files

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tara_export_disk::Published;
use tempfile::NamedTempFile;

use super::{
    super::{ObjectKey, PutOutcome, StoreError},
    LocalStore,
};

/// The prefix of all index entries' keys, and the folder of previous releases' entries.
pub(super) const INDEX: &str = ".tara-export/index/";
/// The folder of all shards. Not in [`INDEX`]: that folder is removed once it is empty, because a folder does not
/// shrink on ext4, and reading one that had a million entries takes 30 ms.
pub(super) const SHARDS: &str = ".tara-export/index-shards/";
/// The number of digits in the names of shards, by level. The digits are microseconds before a fixed time: a shard of
/// the first level has the entries of eleven days, one of the next level those of three hours, then 100 seconds. The
/// first level has at most ten thousand shards, and each other one at most a hundred in its parent.
pub(super) const LEVELS: [usize; 6] = [4, 6, 8, 10, 12, 14];
/// The number of digits in an index entry's name.
const TIME_DIGITS: usize = 16;
/// A shard with this many entries gets no more. Reading it takes a few milliseconds.
const MAX_ENTRIES: usize = 2_000;
/// The number of shards whose sizes are kept in memory. Beyond that, all are forgotten and counted again.
const MAX_COUNTED: usize = 1_000;

/// The name of an index entry; `None` if the key is not one.
pub(super) fn index_name(key: &str) -> Option<&str> {
    let name = key.strip_prefix(INDEX)?;
    let (digits, rest) = name.split_at_checked(TIME_DIGITS)?;
    (are_digits(digits) && rest.starts_with('_') && !rest.contains('/')).then_some(name)
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// All paths below the root that the object can have. An object is moved only from the first to a later one, so check
/// them in this order.
pub(super) fn places(key: &str) -> Vec<String> {
    let mut places = vec![key.to_owned()];
    if let Some(name) = index_name(key) {
        places.extend((1..=LEVELS.len()).map(|level| format!("{}{name}", shard_of(name, level))));
    }
    places
}

/// The path below the root of a new object, unless it is an index entry and its first shard is full.
pub(super) fn first_place(key: &str) -> String {
    match index_name(key) {
        Some(name) => format!("{}{name}", shard_of(name, 1)),
        None => key.to_owned(),
    }
}

/// The folder of the shard of an index entry on a level, counted from 1, below the root and ending with `/`.
fn shard_of(name: &str, level: usize) -> String {
    let mut folder = SHARDS.to_owned();
    for digits in &LEVELS[..level] {
        folder.push_str(&name[..*digits]);
        folder.push('/');
    }
    folder
}

/// The key of the folder of previous releases' entries: stands for all files that are moved from it.
#[allow(clippy::expect_used, reason = "the text is constant")]
pub(super) fn index_folder() -> ObjectKey {
    ObjectKey::new(INDEX.trim_end_matches('/')).expect("a valid key")
}

/// An entry of a shard's folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ShardEntry {
    /// An index entry, by its key.
    Entry(String),
    /// A shard of the next level, by the prefix of its entries' keys.
    Shard(String),
    /// Neither.
    Foreign,
}

/// Parses an entry of the folder of a shard of this level, or of [`SHARDS`] with level 0. Folders end with `/`.
pub(super) fn parse_entry(folder: &str, level: usize, entry: &str) -> ShardEntry {
    let own_digits = match level {
        0 => "",
        _ => folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default(),
    };
    let Some(name) = entry.strip_prefix(folder).filter(|name| name.starts_with(own_digits)) else {
        return ShardEntry::Foreign;
    };
    let key = || format!("{INDEX}{}", name.trim_end_matches('/'));
    match name.strip_suffix('/') {
        Some(digits) if LEVELS.get(level) == Some(&digits.len()) && are_digits(digits) => {
            ShardEntry::Shard(key())
        }
        None if level > 0 && index_name(&key()).is_some() => ShardEntry::Entry(key()),
        _ => ShardEntry::Foreign,
    }
}

/// The sizes of shards. The lock is held while an entry is put or moved, so that concurrent puts of one key do not store
/// it in two shards.
#[derive(Debug)]
pub(super) struct Shards {
    sizes: Mutex<Sizes>,
}

#[derive(Debug)]
pub(super) struct Sizes {
    /// The numbers of index entries in folders. A foreign change makes a number wrong, and the folder somewhat smaller
    /// or larger.
    by_folder: HashMap<PathBuf, usize>,
    max_entries: usize,
}

impl Default for Shards {
    fn default() -> Self {
        Self::of(MAX_ENTRIES)
    }
}

impl Shards {
    fn of(max_entries: usize) -> Self {
        Self { sizes: Mutex::new(Sizes { by_folder: HashMap::new(), max_entries }) }
    }

    #[cfg(test)]
    pub(super) fn with_max_entries(max_entries: usize) -> Self {
        Self::of(max_entries)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sizes> {
        // After a panic under the lock, a number can be wrong by one.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sizes {
    /// The path of a new index entry: in the first shard that is not full.
    pub(super) fn place(&mut self, root: &Path, name: &str) -> PathBuf {
        let mut folder = root.join(shard_of(name, LEVELS.len()));
        for level in 1..LEVELS.len() {
            let shard = root.join(shard_of(name, level));
            if self.size(&shard) < self.max_entries {
                folder = shard;
                break;
            }
        }
        folder.join(name)
    }

    fn size(&mut self, folder: &Path) -> usize {
        if let Some(size) = self.by_folder.get(folder) {
            return *size;
        }
        if self.by_folder.len() >= MAX_COUNTED {
            self.by_folder.clear();
        }
        let size = count_files(folder, self.max_entries);
        self.by_folder.insert(folder.to_owned(), size);
        size
    }

    pub(super) fn added(&mut self, path: &Path) {
        self.change(path, |size| size.saturating_add(1));
    }

    pub(super) fn removed(&mut self, path: &Path) {
        self.change(path, |size| size.saturating_sub(1));
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(usize) -> usize) {
        if let Some(size) = path.parent().and_then(|folder| self.by_folder.get_mut(folder)) {
            *size = change(*size);
        }
    }
}

/// The number of files in a folder, up to a limit. If the folder cannot be read, the put returns the reason.
fn count_files(folder: &Path, limit: usize) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    entries.map_while(Result::ok).filter(is_file).take(limit).count()
}

impl LocalStore {
    /// Durably publishes a finished file as an index entry unless the key has one.
    pub(super) fn publish_index_entry(
        &self,
        file: NamedTempFile,
        key: &ObjectKey,
        name: &str,
    ) -> Result<PutOutcome, StoreError> {
        let unsynced = {
            let mut sizes = self.shards.lock();
            if self.has_index_entry(&sizes, key)? {
                return Ok(PutOutcome::Exists);
            }
            let path = sizes.place(self.root(), name);
            match self.disk.publish(file, &path)? {
                Published::Created(unsynced) => {
                    sizes.added(&path);
                    unsynced
                }
                Published::Taken => return self.existing(&path),
            }
        };
        unsynced.sync()?;
        Ok(PutOutcome::Created)
    }

    /// Whether an index entry exists in any of its places. If so, makes it durable. Requires the lock, so that it is not
    /// moved meanwhile.
    pub(super) fn has_index_entry(
        &self,
        _sizes: &MutexGuard<'_, Sizes>,
        key: &ObjectKey,
    ) -> Result<bool, StoreError> {
        for place in places(key.as_str()) {
            if self.disk.has_file(&self.root().join(place))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
