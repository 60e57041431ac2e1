//! Deleting objects, and the folders that become empty.

use super::{
    super::{ObjectKey, StoreError, StoreErrorKind},
    LocalStore, OWN, is_reserved,
};

impl LocalStore {
    pub(super) fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let refuse = |message| Err(StoreError::new(StoreErrorKind::Misconfigured, message));
        if is_reserved(key.as_str()) {
            return refuse(format!("cannot delete {key}: reserved for the service's own files"));
        }
        self.require_folder()?;
        let path = self.path(key);
        if self.has_symlink_parent(key) {
            return refuse(format!(
                "cannot delete {}: a parent folder is a symbolic link, which may lead out of the \
                 store",
                path.display()
            ));
        }
        // The service's own folder, which also contains the journal, is not removed when it becomes empty.
        let own = self.root().join(OWN);
        let is_own = path != own && path.starts_with(&own);
        Ok(self.disk.remove_durably(&path, if is_own { &own } else { self.root() })?)
    }
}
