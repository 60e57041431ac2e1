//! Listing keys in byte order, without reading irrelevant folders.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    super::{ListRequest, Listing, ObjectKey, StoreError},
    folder::{SKIPPED_LIMIT, Start, Windows},
    is_reserved,
    shards::{INDEX, LEVELS, SHARDS, ShardEntry, parse_entry},
};

/// The prefix of the service's own objects.
const OWN_PREFIX: &str = ".tara-export/";

/// Lists the keys below the root.
pub(super) fn list(
    root: &Path,
    windows: &Windows,
    request: &ListRequest,
) -> Result<Listing, StoreError> {
    let mut walk = Walk { root, windows, request, found: BTreeSet::new(), skipped: Vec::new() };
    // The folder that contains all requested keys, as a prefix: empty or ending with `/`.
    let start = match request.prefix.rfind('/') {
        Some(end) => &request.prefix[..=end],
        None => "",
    };
    if walk.can_enter(start) {
        walk.visit_folder(start)?;
    }
    let more = walk.found.len() > request.limit;
    let skipped = walk.skipped;
    let found = walk.found.into_iter().take(request.limit);
    let (folders, keys) = found.partition(|entry| entry.ends_with('/'));
    Ok(Listing { keys, folders, skipped, more, ..Listing::default() })
}

struct Walk<'a> {
    root: &'a Path,
    windows: &'a Windows,
    request: &'a ListRequest,
    /// The first keys, and grouped folders ending with `/`. One more than the limit shows that there are more.
    found: BTreeSet<String>,
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
        // The index is in two folders, which are checked on their own.
        let checked = if prefix == INDEX { OWN_PREFIX } else { prefix };
        ObjectKey::new(key).is_ok()
            && !is_reserved(prefix)
            && checked.match_indices('/').all(|(end, _)| !self.is_symlink(&prefix[..end]))
    }

    fn is_symlink(&self, folder: &str) -> bool {
        let metadata = fs::symlink_metadata(self.root.join(folder.trim_end_matches('/')));
        metadata.is_ok_and(|metadata| metadata.is_symlink())
    }

    fn add(&mut self, entry: String) {
        self.found.insert(entry);
        if self.found.len() > self.request.limit + 1 {
            self.found.pop_last();
        }
    }

    /// Whether this entry, and all that sort after it, follow those that are listed.
    fn is_beyond_page(&self, entry: &str) -> bool {
        self.found.len() > self.request.limit
            && self.found.last().is_some_and(|last| last.as_str() <= entry)
    }

    /// Collects the keys of one folder. `folder` is empty or ends with `/`.
    fn visit_folder(&mut self, folder: &str) -> Result<(), StoreError> {
        if folder == INDEX {
            return self.visit_index();
        }
        // The index has keys even if its own folder does not exist.
        if folder == OWN_PREFIX && self.is_relevant(INDEX) {
            if !self.request.delimited {
                self.visit_index()?;
            } else if index_has_entry(self.root, self.windows)? {
                self.add(INDEX.to_owned());
            }
        }
        self.visit_files(folder)
    }

    fn visit_index(&mut self) -> Result<(), StoreError> {
        // The folder of previous releases first: an entry that is moved meanwhile is found in one of the two.
        if !self.is_symlink(INDEX) {
            self.visit_files(INDEX)?;
        }
        if !self.is_symlink(SHARDS) && self.is_relevant_shard(INDEX) {
            self.visit_shard(SHARDS, 0)?;
        }
        Ok(())
    }

    /// Collects the keys of the index entries in a shard of this level.
    fn visit_shard(&mut self, folder: &str, level: usize) -> Result<(), StoreError> {
        let mut shards = Vec::new();
        let mut next = Some(self.start_in_shard(folder, level));
        let mut is_first = true;
        'windows: while let Some(start) = next {
            let window = self.windows.read(self.root, folder, &start)?;
            if std::mem::take(&mut is_first) {
                window.skipped().iter().for_each(|entry| self.skip(entry));
            }
            for entry in window.from(&start) {
                match parse_entry(folder, level, entry) {
                    ShardEntry::Entry(key) if self.is_beyond_page(&key) => break 'windows,
                    ShardEntry::Entry(key) if self.is_relevant(&key) => self.add(key),
                    ShardEntry::Entry(_) => {}
                    ShardEntry::Shard(prefix) if self.is_beyond_page(&prefix) => break 'windows,
                    ShardEntry::Shard(prefix) => shards.push((prefix, entry.clone())),
                    ShardEntry::Foreign => self.skip(entry),
                }
            }
            next = window.next();
        }
        for (prefix, folder) in shards {
            if self.is_beyond_page(&prefix) {
                break;
            }
            if self.is_relevant_shard(&prefix) {
                self.visit_shard(&folder, level + 1)?;
            }
        }
        Ok(())
    }

    /// The position of the first relevant entry in the folder of a shard.
    fn start_in_shard(&self, folder: &str, level: usize) -> Start {
        let start_after = self.request.start_after.as_deref();
        let Some(name) = start_after.and_then(|key| key.strip_prefix(INDEX)) else {
            return Start::first();
        };
        // The shard that contains the start sorts before it.
        let shard = LEVELS.get(level).and_then(|digits| name.get(..*digits));
        match shard.map(|digits| format!("{digits}/")).filter(|shard| shard.as_str() <= name) {
            Some(shard) => Start::at(format!("{folder}{shard}")),
            None => Start::after(format!("{folder}{name}")),
        }
    }

    /// Whether a key with this prefix can be requested.
    fn is_relevant_shard(&self, prefix: &str) -> bool {
        let start_after = self.request.start_after.as_deref();
        start_after
            .is_none_or(|start_after| prefix > start_after || start_after.starts_with(prefix))
    }

    /// Collects the keys of the files in one folder and, unless they are grouped, below it.
    fn visit_files(&mut self, folder: &str) -> Result<(), StoreError> {
        let mut next = Some(self.start_in(folder));
        let mut is_first = true;
        while let Some(start) = next {
            let window = self.windows.read(self.root, folder, &start)?;
            // Each window reports the skipped entries of the entire folder.
            if std::mem::take(&mut is_first) {
                let skipped = window.skipped().iter().filter(|entry| self.is_relevant(entry));
                let skipped: Vec<&String> = skipped.collect();
                skipped.into_iter().for_each(|entry| self.skip(entry));
            }
            for entry in window.from(&start) {
                if self.is_beyond_page(entry) {
                    return Ok(());
                }
                // The index was visited before.
                if !self.is_relevant(entry) || entry == INDEX {
                    continue;
                }
                if !entry.ends_with('/') {
                    self.add(entry.clone());
                } else if !self.request.delimited {
                    match self.visit_folder(entry) {
                        // A foreign folder, such as `lost+found`. Nothing is missing from a folder of this service.
                        Err(error) if !entry.starts_with(OWN_PREFIX) => {
                            self.skip(&format!("{entry} ({error})"));
                        }
                        visited => visited?,
                    }
                } else if contains_object(self.root, self.windows, entry)? {
                    self.add(entry.clone());
                }
            }
            next = window.next();
        }
        Ok(())
    }

    fn skip(&mut self, entry: &str) {
        if self.skipped.len() < SKIPPED_LIMIT {
            self.skipped.push(entry.to_owned());
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

/// Whether the index has any entry.
fn index_has_entry(root: &Path, windows: &Windows) -> Result<bool, StoreError> {
    let prefix = INDEX.to_owned();
    let request = ListRequest { prefix, start_after: None, delimited: false, limit: 1 };
    Ok(!list(root, windows, &request)?.keys.is_empty())
}

/// Whether a folder contains any key, or cannot be read: its reader gets the reason. Empty folders exist on disk, for
/// example after a crash, but not in a store.
fn contains_object(root: &Path, windows: &Windows, folder: &str) -> Result<bool, StoreError> {
    if folder == OWN_PREFIX && index_has_entry(root, windows)? {
        return Ok(true);
    }
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
