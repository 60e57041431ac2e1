//! Listing keys in byte order, reading no folder that can't matter.

use std::{fs, path::Path};

use super::{
    super::{ListRequest, Listing, ObjectKey, StoreError},
    folder::{PASSED_OVER_LIMIT, Start, Windows},
    is_reserved,
};

/// Lists the keys below the root.
pub(super) fn list(
    root: &Path,
    windows: &Windows,
    request: &ListRequest,
) -> Result<Listing, StoreError> {
    let mut walk = Walk { root, windows, request, found: Vec::new(), passed_over: Vec::new() };
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
    windows: &'a Windows,
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

    /// Takes the keys of one folder. `folder` is empty or ends with `/`.
    fn folder(&mut self, folder: &str) -> Result<(), StoreError> {
        let mut next = Some(self.start_in(folder));
        let mut is_first = true;
        while let Some(start) = next {
            let window = self.windows.read(self.root, folder, &start)?;
            // Each window has read the whole folder, and tells it all.
            let is_new = std::mem::take(&mut is_first);
            let room = PASSED_OVER_LIMIT.saturating_sub(self.passed_over.len());
            let odd = window
                .passed_over()
                .iter()
                .filter(|entry| is_new && self.matters(entry))
                .take(room);
            let odd: Vec<String> = odd.cloned().collect();
            self.passed_over.extend(odd);
            for entry in window.from(&start) {
                if self.is_full() {
                    return Ok(());
                }
                if !self.matters(entry) {
                    continue;
                }
                if !entry.ends_with('/') {
                    self.found.push(entry.clone());
                } else if !self.request.delimited {
                    self.folder(entry)?;
                } else if holds_an_object(self.root, self.windows, entry)? {
                    self.found.push(entry.clone());
                }
            }
            next = window.next();
        }
        Ok(())
    }

    /// Where the folder's entries begin to matter.
    fn start_in(&self, folder: &str) -> Start {
        let Some(start_after) = &self.request.start_after else { return Start::first() };
        let below = start_after.strip_prefix(folder).and_then(|rest| rest.find('/'));
        match below {
            // The folder that holds the start has wanted keys, and its name is less than the start.
            Some(end) => Start::at(start_after[..=folder.len() + end].to_owned()),
            None => Start::after(start_after.clone()),
        }
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
fn holds_an_object(root: &Path, windows: &Windows, folder: &str) -> Result<bool, StoreError> {
    let mut next = Some(Start::first());
    while let Some(start) = next {
        let window = windows.read(root, folder, &start)?;
        for entry in window.from(&start) {
            if !entry.ends_with('/') || holds_an_object(root, windows, entry)? {
                return Ok(true);
            }
        }
        next = window.next();
    }
    Ok(false)
}
