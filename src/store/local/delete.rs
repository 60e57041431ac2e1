//! Deleting objects, and the folders that only they kept.

use super::{
    super::{ObjectKey, StoreError, StoreErrorKind},
    LocalStore, OWN, is_reserved,
};

impl LocalStore {
    pub(super) fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let refused = |message| Err(StoreError::new(StoreErrorKind::Misconfigured, message));
        if is_reserved(key.as_str()) {
            return refused(format!("{key} is the service's own file and no object"));
        }
        self.require_folder()?;
        let path = self.path(key);
        if self.passes_a_link(key) {
            return refused(format!(
                "could not remove {}: the way there goes over a symbolic link, and what lies behind \
                 it is not the store's",
                path.display()
            ));
        }
        // The journal's files lie in this folder too, and others make theirs there.
        let own = self.root().join(OWN);
        let is_own = path != own && path.starts_with(&own);
        Ok(self.disk.remove_durably(&path, if is_own { &own } else { self.root() })?)
    }
}
