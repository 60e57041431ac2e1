//! The stores that this machine was configured for.
//!
//! A store identity is stored in the store itself. Until a process has read it, it accepts exports for the configured
//! store under a proposed identity, which is stored in this file first. If the store has a different identity, the
//! proposed one becomes an alias of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tara_export_bundle::StoreId;

use tara_export_state_file::{self as state_file, StateFileError};

use super::{Files, JournalError};

const SCHEMA: &str = "tara-export/stores/v1";

/// Maximum number of sites; a new site replaces the oldest one. Which store was seen at a replaced site is then not
/// known; pending exports contain their store identity themselves.
const MAX_SITES: usize = 256;
/// Maximum number of aliases; a new alias replaces the oldest one. Pending exports that were accepted under a replaced
/// alias are treated as another store's until an operator relocates them.
const MAX_ALIASES: usize = 4096;

/// The stores that this machine was configured for, the latest of each site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStores {
    /// The store of exports that were accepted before entries contained a store identity.
    unlabelled: StoreId,
    /// In the order in which they were configured.
    sites: Vec<KnownSite>,
    /// Pairs of a proposed identity and the store's actual identity, oldest first.
    #[serde(default)]
    aliases: Vec<(StoreId, StoreId)>,
}

/// A configured location of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSite {
    /// The value of [`Store::site`](tara_export_store::Store::site).
    site: String,
    /// The identity that was last read from the store.
    #[serde(rename = "said", default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<StoreId>,
    /// The identity under which exports are accepted until the store's own is read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposed: Option<StoreId>,
}

impl KnownSite {
    /// Whether this is a known identity of the site's store.
    fn has_id(&self, store_id: StoreId) -> bool {
        [self.confirmed, self.proposed].contains(&Some(store_id))
    }
}

impl KnownStores {
    /// The first known store of a machine. Exports that were accepted before belong to it.
    pub fn new(site: &str, proposed: StoreId) -> Self {
        let site = KnownSite { site: site.to_owned(), confirmed: None, proposed: Some(proposed) };
        Self { unlabelled: proposed, sites: vec![site], aliases: Vec::new() }
    }

    /// The proposed identity of a site's store until its own is read, and whether the proposal is new.
    pub fn propose(&mut self, site: &str, new_id: impl FnOnce() -> StoreId) -> (StoreId, bool) {
        let known = self.at(site);
        match known.proposed {
            Some(proposed) => (proposed, false),
            None => (*known.proposed.insert(new_id()), true),
        }
    }

    /// The identity to assign to a site's store that has none.
    pub fn id_to_assign(&self, site: &str, new_id: impl FnOnce() -> StoreId) -> StoreId {
        let known = self.sites.iter().find(|known| known.site == site);
        match known {
            Some(KnownSite { confirmed: None, proposed: Some(proposed), .. }) => *proposed,
            // The site's store had an identity before, so this is another store.
            _ => new_id(),
        }
    }

    /// Sets the identity that was read from a site's store. Returns whether it was a change.
    pub fn confirm(&mut self, site: &str, store_id: StoreId) -> bool {
        let known = self.at(site);
        if known.confirmed == Some(store_id) && known.proposed.is_none() {
            return false;
        }
        known.confirmed = Some(store_id);
        if let Some(proposed) = known.proposed.take().filter(|proposed| *proposed != store_id) {
            if self.aliases.len() >= MAX_ALIASES {
                self.aliases.remove(0);
            }
            self.aliases.push((proposed, store_id));
        }
        true
    }

    /// The identity of the store that an export belongs to. `recorded` is the identity in its entry, if any.
    pub fn resolve(&self, recorded: Option<StoreId>) -> StoreId {
        let store_id = recorded.unwrap_or(self.unlabelled);
        let alias = self.aliases.iter().rev().find(|(alias, _)| *alias == store_id);
        alias.map_or(store_id, |(_, actual)| *actual)
    }

    /// Whether a site's store is known to have this identity.
    pub fn is_at(&self, site: &str, store_id: StoreId) -> bool {
        let known = self.sites.iter().find(|known| known.site == site);
        known.is_some_and(|known| known.has_id(store_id))
    }

    /// The site where a store was last seen, for messages.
    pub fn site_of(&self, store_id: StoreId) -> Option<&str> {
        let mut sites = self.sites.iter().rev();
        let known = sites.find(|known| known.has_id(store_id));
        known.map(|known| known.site.as_str())
    }

    /// The entry of a site, which is added if it is new.
    fn at(&mut self, site: &str) -> &mut KnownSite {
        let index = self.sites.iter().position(|known| known.site == site);
        let index = index.unwrap_or_else(|| {
            if self.sites.len() >= MAX_SITES {
                self.sites.remove(0);
            }
            self.sites.push(KnownSite { site: site.to_owned(), confirmed: None, proposed: None });
            self.sites.len() - 1
        });
        &mut self.sites[index]
    }
}

impl Files {
    /// The known stores; `None` if the file does not exist. A damaged file is renamed and logged: pending exports
    /// contain their store identity themselves.
    pub(super) fn known_stores(&self) -> Result<Option<KnownStores>, JournalError> {
        let path = self.known_stores_path();
        match state_file::read(&path, SCHEMA) {
            Ok(stores) => Ok(stores),
            Err(StateFileError::Disk(error)) => Err(error.into()),
            Err(StateFileError::LaterRelease) => {
                let path = path.display().to_string();
                Err(JournalError::UnreadableStores { path })
            }
            Err(StateFileError::Damaged(reason)) => {
                let target = path.with_extension("json.damaged");
                tracing::error!(
                    path = %path.display(), reason, renamed_to = %target.display(),
                    "the file of known stores is damaged and was renamed"
                );
                self.disk.rename(&path, &target, "rename")?.sync()?;
                Ok(None)
            }
        }
    }

    pub(super) fn write_known_stores(&self, stores: &KnownStores) -> Result<(), JournalError> {
        Ok(state_file::write(&self.disk, &self.known_stores_path(), SCHEMA, stores)?)
    }

    fn known_stores_path(&self) -> PathBuf {
        self.disk.root().join(".tara-export/stores.json")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> StoreId {
        StoreId::new(Uuid::from_u128(number))
    }

    #[test]
    fn proposed_id_becomes_alias_of_confirmed_id() {
        let mut stores = KnownStores::new("one", id(1));
        assert_eq!(stores.id_to_assign("one", || id(9)), id(1));
        assert!(stores.confirm("one", id(7)));
        assert_eq!((stores.resolve(Some(id(1))), stores.resolve(None)), (id(7), id(7)));
        assert!(!stores.confirm("one", id(7)));
        // A process that has not read the store identity yet.
        assert_eq!(stores.propose("one", || id(2)), (id(2), true));
        assert_eq!(stores.propose("one", || id(3)), (id(2), false));
        assert!(stores.is_at("one", id(2)) && stores.is_at("one", id(7)));
        assert!(stores.confirm("one", id(7)));
        assert_eq!(stores.resolve(Some(id(2))), id(7));
    }

    #[test]
    fn replaced_store_keeps_its_own_id() {
        let mut stores = KnownStores::new("one", id(1));
        stores.confirm("one", id(1));
        assert_eq!(stores.id_to_assign("one", || id(2)), id(2));
        assert!(stores.confirm("one", id(2)));
        assert_eq!((stores.resolve(Some(id(1))), stores.resolve(None)), (id(1), id(1)));
        assert!(!stores.is_at("one", id(1)));
    }

    #[test]
    fn exports_without_store_id_belong_to_first_store() {
        let mut stores = KnownStores::new("one", id(1));
        stores.confirm("two", id(2));
        assert_eq!(stores.resolve(None), id(1));
        assert_eq!((stores.site_of(id(2)), stores.site_of(id(3))), (Some("two"), None));
    }

    #[test]
    fn number_of_sites_and_aliases_is_limited() {
        let mut stores = KnownStores::new("first", id(0));
        for number in 1..=2 * MAX_SITES as u128 {
            stores.propose(&number.to_string(), || id(number));
        }
        assert_eq!(stores.sites.len(), MAX_SITES);
        assert_eq!(stores.site_of(id(0)), None);
        for number in 1..=2 * MAX_ALIASES as u128 {
            stores.propose("last", || id(number));
            stores.confirm("last", id(0));
        }
        assert_eq!(stores.aliases.len(), MAX_ALIASES);
        assert_eq!(stores.resolve(Some(id(2 * MAX_ALIASES as u128))), id(0));
    }
}
