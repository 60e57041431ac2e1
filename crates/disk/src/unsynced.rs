//! Changes of folder entries that a power cut can undo until the folders are synced.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{DiskError, sync::sync_directory};

/// A name that was created or removed in a folder that is not synced yet. The caller decides how to continue:
/// [`sync`](Self::sync), [`Batch::add`] or [`leave_unsynced`](Self::leave_unsynced).
#[derive(Debug)]
#[must_use = "a power cut can undo this change until its folder is synced"]
pub struct Unsynced<T = ()> {
    value: T,
    folders: Vec<PathBuf>,
    /// For a removal, the folder may be missing: then the name is missing too.
    is_removal: bool,
}

impl<T> Unsynced<T> {
    pub(super) fn created(value: T, folders: &[&Path]) -> Self {
        let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
        Self { value, folders, is_removal: false }
    }

    pub(super) fn removed(value: T, folder: &Path) -> Self {
        Self { value, folders: vec![folder.to_owned()], is_removal: true }
    }

    /// The result of the change.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Makes the change durable.
    pub fn sync(self) -> Result<T, DiskError> {
        for folder in &self.folders {
            sync(folder, self.is_removal)?;
        }
        Ok(self.value)
    }

    /// Leaves the change unsynced: use it if a power cut may undo the change, or if a later change in the same folder
    /// is synced.
    pub fn leave_unsynced(self) -> T {
        self.value
    }
}

/// Changes of several names. Each folder is synced once.
#[derive(Debug, Default)]
#[must_use = "a power cut can undo these changes until their folders are synced"]
pub struct Batch {
    /// Each folder, and whether all its changes are removals.
    folders: BTreeMap<PathBuf, bool>,
}

impl Batch {
    /// Adds a change, and returns its value.
    pub fn add<T>(&mut self, change: Unsynced<T>) -> T {
        for folder in change.folders {
            *self.folders.entry(folder).or_insert(true) &= change.is_removal;
        }
        change.value
    }

    /// Makes the changes durable.
    pub fn sync(self) -> Result<(), DiskError> {
        self.folders.iter().try_for_each(|(folder, is_removal)| sync(folder, *is_removal))
    }

    /// Like [`Unsynced::leave_unsynced`].
    pub fn leave_unsynced(self) {}
}

/// Runs work that changes several names, then makes all changes durable that it added.
///
/// # Errors
/// The error of the work, in which case nothing is synced, or that of the disk.
pub fn batch<T, E: From<DiskError>>(work: impl FnOnce(&mut Batch) -> Result<T, E>) -> Result<T, E> {
    let mut changes = Batch::default();
    let result = work(&mut changes)?;
    changes.sync()?;
    Ok(result)
}

fn sync(folder: &Path, is_removal: bool) -> Result<(), DiskError> {
    match sync_directory(folder) {
        Err(error) if is_removal && error.is_not_found() => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::fs;

    use super::{
        super::{Disk, Published, counts},
        *,
    };

    fn synced<T>(work: impl FnOnce() -> T) -> (T, u32) {
        let before = counts::DIRECTORIES.get();
        let done = work();
        (done, counts::DIRECTORIES.get() - before)
    }

    fn disk() -> (tempfile::TempDir, Disk) {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::new(root.path().to_owned(), "tmp");
        for folder in ["tmp", "a", "b"] {
            disk.ensure_directory(&root.path().join(folder)).unwrap();
        }
        (root, disk)
    }

    #[test]
    fn change_costs_one_sync_of_each_folder() {
        let (root, disk) = disk();
        let path = |name: &str| root.path().join(name);
        let (_, count) = synced(|| disk.write(&path("a/1"), [b"1"]).unwrap().sync().unwrap());
        assert_eq!(count, 1);
        let renamed = || disk.rename(&path("a/1"), &path("b/1"), "move").unwrap().sync().unwrap();
        assert_eq!(synced(renamed).1, 2);
        let renamed = || disk.rename(&path("b/1"), &path("b/2"), "move").unwrap().sync().unwrap();
        assert_eq!(synced(renamed).1, 1);
        assert_eq!(synced(|| disk.remove(&path("b/2")).unwrap().sync().unwrap()), (true, 1));
        // The process that removed it may have died before the sync.
        assert_eq!(synced(|| disk.remove(&path("b/2")).unwrap().sync().unwrap()), (false, 1));
        let (removed, count) = synced(|| disk.remove(&path("b/2")).unwrap().leave_unsynced());
        assert_eq!((removed, count), (false, 0));
    }

    #[test]
    fn batch_syncs_each_folder_once() {
        let (root, disk) = disk();
        let path = |name: &str| root.path().join(name);
        let written = || {
            batch(|changes| {
                for name in ["a/1", "a/2", "a/3", "b/1"] {
                    changes.add(disk.write(&path(name), [b"1"])?);
                }
                Ok::<_, DiskError>(())
            })
            .unwrap();
        };
        assert_eq!(synced(written).1, 2);
    }

    #[test]
    fn only_removal_tolerates_missing_folder() {
        let (root, disk) = disk();
        let path = root.path().join("a/1");
        let published = disk.publish(disk.create_unnamed().unwrap(), &path).unwrap();
        let Published::Created(created) = published else { panic!("the name is taken") };
        let removed = disk.remove(&path).unwrap();
        fs::remove_dir(root.path().join("a")).unwrap();
        created.sync().unwrap_err();
        assert!(removed.sync().unwrap());
    }

    #[test]
    fn taken_name_is_neither_published_nor_linked() {
        let (root, disk) = disk();
        let (first, second) = (root.path().join("a/1"), root.path().join("a/2"));
        disk.write(&first, [b"1"]).unwrap().sync().unwrap();
        let linked = disk.link(&first, &second, "link").unwrap();
        assert!(matches!(linked, Published::Created(_)));
        assert!(matches!(disk.link(&first, &second, "link").unwrap(), Published::Taken));
        let file = disk.create_unnamed().unwrap();
        assert!(matches!(disk.publish(file, &second).unwrap(), Published::Taken));
        assert_eq!(fs::read(&second).unwrap(), b"1");
    }
}
