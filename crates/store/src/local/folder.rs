//! Sorted reading of folders of any size, a few thousand entries at a time.
//!
//! A disk returns a folder's entries unsorted, so finding the entries after a position requires reading all of
//! them. This happens once per [`Window`], which keeps the next ten thousand entries sorted and is reused
//! until the folder changes (docs/adr/0010).

use std::{
    collections::{BinaryHeap, VecDeque},
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tara_export_disk::DiskError;

use super::{
    super::{ObjectKey, StoreError},
    is_reserved,
    shards::SHARDS,
};

/// The maximum number of entries in a window.
const WINDOW_ENTRIES: usize = 10_000;
/// The number of cached windows. Windows of folders smaller than [`SMALL_ENTRIES`] are not cached.
const CACHED_WINDOWS: usize = 4;
/// Reading a folder with fewer entries costs no more than reading a few files.
const SMALL_ENTRIES: usize = 1_000;
/// The maximum number of skipped entries that a listing reports; callers need only a few.
pub(super) const SKIPPED_LIMIT: usize = 1_000;
/// How long a folder must be unchanged before a window on it is cached. Modification times advance in ticks
/// of a few milliseconds: the second of two changes in one tick would go unnoticed.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A position in the sorted entries of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    entry: String,
    /// Whether the entry itself is excluded.
    is_exclusive: bool,
}

impl Start {
    /// Before every entry.
    pub(super) fn first() -> Self {
        Self::at(String::new())
    }

    /// At this entry, which need not exist.
    pub(super) fn at(entry: String) -> Self {
        Self { entry, is_exclusive: false }
    }

    /// After this entry.
    pub(super) fn after(entry: String) -> Self {
        Self { entry, is_exclusive: true }
    }

    fn excludes(&self, entry: &str) -> bool {
        entry < self.entry.as_str() || (self.is_exclusive && entry == self.entry)
    }
}

/// A contiguous range of a folder's sorted entries.
///
/// An entry is a full key; that of a folder ends with `/`. Entries therefore sort in the order of the keys
/// below them: `a-b` before `a/b`, since `-` is less than `/`.
#[derive(Debug)]
pub(super) struct Window {
    folder: String,
    modified_time: Option<SystemTime>,
    start: Start,
    entries: Vec<String>,
    skipped: Vec<String>,
    more: bool,
}

impl Window {
    /// Entries anywhere in the folder that are not valid objects, as text; limited in number.
    pub(super) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The entries from this position on.
    pub(super) fn from(&self, start: &Start) -> &[String] {
        &self.entries[self.entries.partition_point(|entry| start.excludes(entry))..]
    }

    /// The start of the next window, if the folder has more entries.
    pub(super) fn next(&self) -> Option<Start> {
        let last = self.entries.last().filter(|_| self.more)?;
        Some(Start::after(last.clone()))
    }

    fn covers(&self, folder: &str, start: &Start) -> bool {
        self.folder == folder
            && self.start <= *start
            && (!self.more || self.entries.last().is_some_and(|last| !start.excludes(last)))
    }
}

/// The most recently used windows on large folders.
#[derive(Debug, Default)]
pub(super) struct Windows {
    cached: Mutex<VecDeque<Arc<Window>>>,
}

impl Windows {
    /// A window on a folder that starts at a position. `folder` is empty or ends with `/`.
    pub(super) fn read(
        &self,
        root: &Path,
        folder: &str,
        start: &Start,
    ) -> Result<Arc<Window>, StoreError> {
        let path = root.join(folder);
        let modified_time = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if let Some(window) = self.cached(folder, start, modified_time) {
            return Ok(window);
        }
        // Any later change updates the folder's modification time, which invalidates the window.
        let is_settled = modified_time
            .and_then(|time| SystemTime::now().duration_since(time).ok())
            .is_some_and(|age| age >= SETTLED_AFTER);
        let Smallest { entries, skipped, more, read } = smallest_entries(&path, folder, start)?;
        let (folder, start) = (folder.to_owned(), start.clone());
        let window = Arc::new(Window { folder, modified_time, start, entries, skipped, more });
        if is_settled && read >= SMALL_ENTRIES {
            let mut cached = self.lock();
            cached.push_front(Arc::clone(&window));
            cached.truncate(CACHED_WINDOWS);
        }
        Ok(window)
    }

    fn cached(
        &self,
        folder: &str,
        start: &Start,
        modified_time: Option<SystemTime>,
    ) -> Option<Arc<Window>> {
        let mut cached = self.lock();
        cached.retain(|window| window.folder != folder || window.modified_time == modified_time);
        let index = cached.iter().position(|window| window.covers(folder, start))?;
        let window = cached.remove(index)?;
        cached.push_front(Arc::clone(&window));
        Some(window)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Window>>> {
        // A panic while the lock is held leaves the windows consistent.
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first entries of a folder from a position on.
#[derive(Default)]
struct Smallest {
    entries: Vec<String>,
    skipped: Vec<String>,
    /// Whether more entries follow.
    more: bool,
    /// The number of all entries in the folder.
    read: usize,
}

fn smallest_entries(path: &Path, folder: &str, start: &Start) -> Result<Smallest, StoreError> {
    let failed = |error| StoreError::from(DiskError::of_read("list", path, error));
    let directory = match fs::read_dir(path) {
        Ok(directory) => directory,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Smallest::default());
        }
        Err(error) => return Err(failed(error)),
    };
    let (mut smallest, mut more, mut read) = (BinaryHeap::new(), false, 0);
    let mut skipped = Vec::new();
    for entry in directory {
        let entry = entry.map_err(failed)?;
        read += 1;
        let name = entry.file_name();
        let mut key = format!("{folder}{}", name.to_string_lossy());
        if is_reserved(&key) && !folder.starts_with(SHARDS) {
            continue;
        }
        let mut can_be_object = name.to_str().is_some() && ObjectKey::new(key.as_str()).is_ok();
        // Symbolic links, sockets and other special files are skipped.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => key.push('/'),
            Ok(kind) if kind.is_file() => {}
            Ok(_) => can_be_object = false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                can_be_object = false;
                key = format!("{key} ({error})");
            }
        }
        if !can_be_object && skipped.len() < SKIPPED_LIMIT {
            skipped.push(key);
            continue;
        }
        if !can_be_object || start.excludes(&key) {
            continue;
        }
        if smallest.len() < WINDOW_ENTRIES {
            smallest.push(key);
            continue;
        }
        more = true;
        if let Some(mut largest) = smallest.peek_mut()
            && key < *largest
        {
            *largest = key;
        }
    }
    Ok(Smallest { entries: smallest.into_sorted_vec(), skipped, more, read })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    /// A folder with this many entries, unchanged for a minute.
    fn folder(entries: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..entries {
            File::create(folder.path().join(format!("{number:06}"))).unwrap();
        }
        set_modified(folder.path(), 60);
        folder
    }

    fn set_modified(folder: &Path, seconds_ago: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds_ago);
        File::open(folder).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    fn names(windows: &Windows, root: &Path, start: Start) -> Vec<String> {
        windows.read(root, "", &start).unwrap().from(&start).to_vec()
    }

    #[test]
    fn windows_cover_large_folder_in_order() {
        let folder = folder(2 * WINDOW_ENTRIES + 5);
        let windows = Windows::default();
        let (mut seen, mut next) = (Vec::new(), Some(Start::first()));
        while let Some(start) = next {
            let window = windows.read(folder.path(), "", &start).unwrap();
            assert!(window.entries.len() <= WINDOW_ENTRIES);
            seen.extend_from_slice(window.from(&start));
            next = window.next();
        }
        let expected: Vec<String> =
            (0..2 * WINDOW_ENTRIES + 5).map(|number| format!("{number:06}")).collect();
        assert!(seen == expected);
    }

    #[test]
    fn cached_window_serves_many_positions() {
        let folder = folder(SMALL_ENTRIES + 1);
        let windows = Windows::default();
        let first = windows.read(folder.path(), "", &Start::first()).unwrap();
        for start in [Start::first(), Start::at("000500".into()), Start::after("001000".into())] {
            let again = windows.read(folder.path(), "", &start).unwrap();
            assert!(Arc::ptr_eq(&first, &again), "{start:?}");
        }
        assert_eq!(first.from(&Start::at("000999".into())), ["000999", "001000"]);
        assert_eq!(first.from(&Start::after("000999".into())), ["001000"]);
    }

    #[test]
    fn changed_folder_is_read_again() {
        let folder = folder(SMALL_ENTRIES);
        let windows = Windows::default();
        let at_end = || Start::at("000999".into());
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999"]);
        File::create(folder.path().join("000999x")).unwrap();
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999", "000999x"]);
        // The folder has just changed: another change may get the same modification time.
        set_modified(folder.path(), 0);
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999", "000999x"]);
        let time = fs::metadata(folder.path()).unwrap().modified().unwrap();
        fs::remove_file(folder.path().join("000999")).unwrap();
        let same_time = FileTimes::new().set_modified(time);
        File::open(folder.path()).unwrap().set_times(same_time).unwrap();
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999x"]);
    }

    #[test]
    fn number_of_cached_windows_is_limited() {
        let folder = folder(SMALL_ENTRIES + 2 * CACHED_WINDOWS);
        let windows = Windows::default();
        for number in (0..2 * CACHED_WINDOWS).rev() {
            names(&windows, folder.path(), Start::at(format!("{number:06}")));
        }
        assert_eq!(windows.lock().len(), CACHED_WINDOWS);
    }
}
