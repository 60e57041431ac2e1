//! Listing keys in byte order, without reading irrelevant folders.

use std::{fs, path::Path};

use super::{
    super::{ListRequest, Listing, ObjectKey, StoreError},
    folder::{SKIPPED_LIMIT, Start, Windows},
    is_reserved,
};

/// The prefix of the service's own objects.
const OWN_PREFIX: &str = ".tara-export/";

/// Lists the keys below the root.
pub(super) fn list(
    root: &Path,
    windows: &Windows,
    request: &ListRequest,
) -> Result<Listing, StoreError> {
    let mut walk = Walk { root, windows, request, found: Vec::new(), skipped: Vec::new() };
    // The folder that contains all requested keys, as a prefix: empty or ending with `/`.
    let start = match request.prefix.rfind('/') {
        Some(end) => &request.prefix[..=end],
        None => "",
    };
    if walk.can_enter(start) {
        walk.visit_folder(start)?;
    }
    let more = walk.found.len() > request.limit;
    walk.found.truncate(request.limit);
    let skipped = walk.skipped;
    let (folders, keys) = walk.found.into_iter().partition(|entry| entry.ends_with('/'));
    Ok(Listing { keys, folders, skipped, more, ..Listing::default() })
}

struct Walk<'a> {
    root: &'a Path,
    windows: &'a Windows,
    request: &'a ListRequest,
    /// Keys, and grouped folders ending with `/`, in order. One more than the limit shows that there are more.
    found: Vec<String>,
    /// Visited entries that are not valid objects.
    skipped: Vec<String>,
}

impl Walk<'_> {
    /// Whether the folder of this prefix belongs to the store: a valid key, not reserved, and not reached through
    /// a symbolic link.
    fn can_enter(&self, prefix: &str) -> bool {
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

    /// Collects the keys of one folder. `folder` is empty or ends with `/`.
    fn visit_folder(&mut self, folder: &str) -> Result<(), StoreError> {
        let mut next = Some(self.start_in(folder));
        let mut is_first = true;
        while let Some(start) = next {
            let window = self.windows.read(self.root, folder, &start)?;
            // Each window reports the skipped entries of the entire folder.
            let is_first_window = std::mem::take(&mut is_first);
            let capacity = SKIPPED_LIMIT.saturating_sub(self.skipped.len());
            let skipped = window
                .skipped()
                .iter()
                .filter(|entry| is_first_window && self.is_relevant(entry))
                .take(capacity);
            let skipped: Vec<String> = skipped.cloned().collect();
            self.skipped.extend(skipped);
            for entry in window.from(&start) {
                if self.is_full() {
                    return Ok(());
                }
                if !self.is_relevant(entry) {
                    continue;
                }
                if !entry.ends_with('/') {
                    self.found.push(entry.clone());
                } else if !self.request.delimited {
                    match self.visit_folder(entry) {
                        // A foreign folder, such as `lost+found`. Nothing is missing from a folder of this service.
                        Err(error) if !entry.starts_with(OWN_PREFIX) => self.skip(entry, &error),
                        visited => visited?,
                    }
                } else if contains_object(self.root, self.windows, entry)? {
                    self.found.push(entry.clone());
                }
            }
            next = window.next();
        }
        Ok(())
    }

    fn skip(&mut self, folder: &str, error: &StoreError) {
        if self.skipped.len() < SKIPPED_LIMIT {
            self.skipped.push(format!("{folder} ({error})"));
        }
    }

    /// The position of the folder's first relevant entry.
    fn start_in(&self, folder: &str) -> Start {
        let Some(start_after) = &self.request.start_after else { return Start::first() };
        let below = start_after.strip_prefix(folder).and_then(|rest| rest.find('/'));
        match below {
            // The folder that contains the start has requested keys, and its name sorts before the start.
            Some(end) => Start::at(start_after[..=folder.len() + end].to_owned()),
            None => Start::after(start_after.clone()),
        }
    }

    /// Whether an entry is a requested key or a folder that may contain one.
    fn is_relevant(&self, entry: &str) -> bool {
        if !entry.starts_with(&self.request.prefix) {
            return false;
        }
        let Some(start_after) = self.request.start_after.as_deref() else {
            return true;
        };
        let contains_start = entry.ends_with('/') && start_after.starts_with(entry);
        entry > start_after || (contains_start && !self.request.delimited)
    }
}

/// Whether a folder contains any key, or cannot be read: its reader gets the reason. Empty folders exist on disk, for
/// example after a crash, but not in a store.
fn contains_object(root: &Path, windows: &Windows, folder: &str) -> Result<bool, StoreError> {
    let mut next = Some(Start::first());
    while let Some(start) = next {
        let window = match windows.read(root, folder, &start) {
            Err(_) if !folder.starts_with(OWN_PREFIX) => return Ok(true),
            window => window?,
        };
        for entry in window.from(&start) {
            if !entry.ends_with('/') || contains_object(root, windows, entry)? {
                return Ok(true);
            }
        }
        next = window.next();
    }
    Ok(false)
}
