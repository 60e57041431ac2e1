//! Deleting objects, and the folders that become empty.

use std::{fs, path::Path};

use super::{
    super::{ObjectKey, StoreError, StoreErrorKind},
    LocalStore, OWN, is_reserved,
    shards::{index_name, places},
};

impl LocalStore {
    pub(super) fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let refuse = |message| Err(StoreError::new(StoreErrorKind::Misconfigured, message));
        if is_reserved(key.as_str()) {
            return refuse(format!("cannot delete {key}: reserved for the service's own files"));
        }
        self.require_folder()?;
        let places = places(key.as_str());
        if let Some(place) = places.iter().find(|place| self.has_symlink_parent(place)) {
            return refuse(format!(
                "cannot delete {}: a parent folder is a symbolic link, which may lead out of the \
                 store",
                self.root().join(place).display()
            ));
        }
        if index_name(key.as_str()).is_some() {
            return self.remove_index_entry(&places);
        }
        self.remove_file(&self.path(key))
    }

    /// Removes an index entry from all its places. They are checked in the order in which an entry is moved, so that an
    /// entry that is moved meanwhile is removed, too.
    fn remove_index_entry(&self, places: &[String]) -> Result<(), StoreError> {
        let mut existed = false;
        for path in places.iter().map(|place| self.root().join(place)) {
            if fs::symlink_metadata(&path).is_ok() {
                self.remove_file(&path)?;
                self.shards.lock().removed(&path);
                existed = true;
            }
        }
        if existed {
            return Ok(());
        }
        // A previous process may have died before the fsync of the folder that had the entry, or its empty folder.
        for (level, path) in places.iter().map(|place| self.root().join(place)).enumerate() {
            if level < 2 || path.parent().is_some_and(Path::is_dir) {
                self.remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), StoreError> {
        // The service's own folder, which also contains the journal, is not removed when it becomes empty.
        let own = self.root().join(OWN);
        let is_own = path != own && path.starts_with(&own);
        Ok(self.disk.remove_durably(path, if is_own { &own } else { self.root() })?)
    }
}
