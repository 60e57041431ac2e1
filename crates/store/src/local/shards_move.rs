//! Moving the index entries of previous releases into shards.

use std::{
    fs::{self, DirEntry, ReadDir},
    path::Path,
};

use tara_export_disk::{DiskError, small_file};

use super::{
    super::StoreError,
    LocalStore,
    shards::{INDEX, index_name, places},
};

/// The number of entries that are moved at a time. Puts of index entries wait at most for one of them.
const ENTRIES_PER_STEP: usize = 64;
/// The maximum size of an entry that is compared with one in a shard.
const COMPARED_BYTES: u64 = 64 * 1024;

/// One pass over the folder of previous releases' entries.
#[derive(Debug, Default)]
pub(super) struct MovedEntries {
    folder: Option<ReadDir>,
    count: u64,
    has_ended: bool,
}

impl MovedEntries {
    /// The number of entries that were moved.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl LocalStore {
    /// Moves the next entries. At the end of the pass, removes the folder if it is empty.
    pub(super) fn move_entries(&self, mut moved: MovedEntries) -> Result<MovedEntries, StoreError> {
        let old = self.root().join(INDEX);
        let failed = |error| StoreError::from(DiskError::of_read("list", &old, error));
        let mut folder = match moved.folder.take() {
            Some(folder) => folder,
            None if fs::symlink_metadata(&old).is_ok_and(|metadata| metadata.is_dir()) => {
                fs::read_dir(&old).map_err(failed)?
            }
            None => return Ok(MovedEntries { has_ended: true, ..moved }),
        };
        for _ in 0..ENTRIES_PER_STEP {
            let Some(entry) = folder.next() else {
                self.disk.remove_empty_directory(&old)?;
                return Ok(MovedEntries { has_ended: true, ..moved });
            };
            if self.move_entry(&entry.map_err(failed)?)? {
                moved.count += 1;
            }
        }
        Ok(MovedEntries { folder: Some(folder), ..moved })
    }

    /// Moves an entry into its shard. Returns `false` if it is not an index entry or stays.
    ///
    /// Not synced: if a power cut undoes the move, the entry is in its old place again, where readers find it.
    fn move_entry(&self, entry: &DirEntry) -> Result<bool, StoreError> {
        let Ok(name) = entry.file_name().into_string() else { return Ok(false) };
        let key = format!("{INDEX}{name}");
        if index_name(&key).is_none() || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            return Ok(false);
        }
        let path = entry.path();
        let mut sizes = self.shards.lock();
        for place in places(&key).iter().skip(1) {
            let other = self.root().join(place);
            if self.disk.has_name(&other)? {
                // A previous release put it again after a downgrade.
                let is_same = is_same_file(&path, &other);
                return Ok(is_same && self.disk.remove(&path)?.leave_unsynced());
            }
        }
        let target = sizes.place(self.root(), &name);
        let is_moved = self.disk.move_file(&path, &target)?.leave_unsynced();
        if is_moved {
            sizes.added(&target);
        }
        Ok(is_moved)
    }
}

fn is_same_file(path: &Path, other: &Path) -> bool {
    let read = |path| small_file::read(path, COMPARED_BYTES);
    matches!((read(path), read(other)), (Ok(bytes), Ok(other)) if bytes == other)
}
