//! The entries of a folder in order, some thousand at a time, however many there are.
//!
//! A disk gives a folder's entries in no order, so those behind a place can't be had without going
//! through all of them. That is done once for each [`Window`], which keeps the next ten thousand in
//! order; they serve until the folder changes (docs/adr/0010).

use std::{
    collections::{BinaryHeap, VecDeque},
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    super::{ObjectKey, StoreError},
    is_reserved,
};
use crate::disk::DiskError;

/// Entries of one window.
const WINDOW_ENTRIES: usize = 10_000;
/// Windows that are kept; of folders smaller than [`SMALL_ENTRIES`] none is.
const KEPT_WINDOWS: usize = 4;
/// Going through so few entries costs no more than a handful of files' reads.
const SMALL_ENTRIES: usize = 1_000;
/// More of what can be no object is not told of; one asks for few.
pub(super) const PASSED_OVER_LIMIT: usize = 1_000;
/// How long a folder must not have changed before its entries are kept. Its time of change moves in
/// ticks of some milliseconds: of two changes in one tick, the second would not be noticed.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A place in the order of a folder's entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    entry: String,
    /// Whether the entry itself is left out.
    after: bool,
}

impl Start {
    /// Before every entry.
    pub(super) fn first() -> Self {
        Self::at(String::new())
    }

    /// At this entry, if there is one.
    pub(super) fn at(entry: String) -> Self {
        Self { entry, after: false }
    }

    /// Behind this entry.
    pub(super) fn after(entry: String) -> Self {
        Self { entry, after: true }
    }

    fn leaves_out(&self, entry: &str) -> bool {
        entry < self.entry.as_str() || (self.after && entry == self.entry)
    }
}

/// Some of a folder's entries in order: all there are from its start to its last.
///
/// An entry is a full key, that of a folder with a `/` behind. That makes their order the order of
/// the keys below: `a-b` before `a/b`, since `-` is less than `/`.
#[derive(Debug)]
pub(super) struct Window {
    folder: String,
    changed_time: Option<SystemTime>,
    start: Start,
    entries: Vec<String>,
    passed_over: Vec<String>,
    more: bool,
}

impl Window {
    /// What lies anywhere in the folder and can be no object, as text; not all of many.
    pub(super) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The entries from this place on.
    pub(super) fn from(&self, start: &Start) -> &[String] {
        &self.entries[self.entries.partition_point(|entry| start.leaves_out(entry))..]
    }

    /// Where the folder goes on behind the window.
    pub(super) fn next(&self) -> Option<Start> {
        let last = self.entries.last().filter(|_| self.more)?;
        Some(Start::after(last.clone()))
    }

    fn covers(&self, folder: &str, start: &Start) -> bool {
        self.folder == folder
            && self.start <= *start
            && (!self.more || self.entries.last().is_some_and(|last| !start.leaves_out(last)))
    }
}

/// The windows on large folders that were used last.
#[derive(Debug, Default)]
pub(super) struct Windows {
    kept: Mutex<VecDeque<Arc<Window>>>,
}

impl Windows {
    /// The entries of a folder from a place on. `folder` is empty or ends with `/`.
    pub(super) fn read(
        &self,
        root: &Path,
        folder: &str,
        start: &Start,
    ) -> Result<Arc<Window>, StoreError> {
        let path = root.join(folder);
        let changed_time = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if let Some(window) = self.kept(folder, start, changed_time) {
            return Ok(window);
        }
        // A change from here on shows in the folder's time, and the window is not used again.
        let is_settled = changed_time
            .and_then(|time| SystemTime::now().duration_since(time).ok())
            .is_some_and(|age| age >= SETTLED_AFTER);
        let Smallest { entries, passed_over, more, read } = smallest_entries(&path, folder, start)?;
        let (folder, start) = (folder.to_owned(), start.clone());
        let window = Arc::new(Window { folder, changed_time, start, entries, passed_over, more });
        if is_settled && read >= SMALL_ENTRIES {
            let mut kept = self.lock();
            kept.push_front(Arc::clone(&window));
            kept.truncate(KEPT_WINDOWS);
        }
        Ok(window)
    }

    fn kept(
        &self,
        folder: &str,
        start: &Start,
        changed_time: Option<SystemTime>,
    ) -> Option<Arc<Window>> {
        let mut kept = self.lock();
        kept.retain(|window| window.folder != folder || window.changed_time == changed_time);
        let index = kept.iter().position(|window| window.covers(folder, start))?;
        let window = kept.remove(index)?;
        kept.push_front(Arc::clone(&window));
        Some(window)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Window>>> {
        // A panic while it was held leaves whole windows.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first entries of a folder from a place on.
#[derive(Default)]
struct Smallest {
    entries: Vec<String>,
    passed_over: Vec<String>,
    /// Whether others come behind them.
    more: bool,
    /// How many entries the folder has, whichever they are.
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
    let mut passed_over = Vec::new();
    for entry in directory {
        let entry = entry.map_err(failed)?;
        read += 1;
        let name = entry.file_name();
        let mut key = format!("{folder}{}", name.to_string_lossy());
        if is_reserved(&key) {
            continue;
        }
        let mut can_be_object = name.to_str().is_some() && ObjectKey::new(key.as_str()).is_ok();
        // Symbolic links, sockets and the like are neither files nor folders here.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => key.push('/'),
            Ok(kind) if kind.is_file() => {}
            Ok(_) => can_be_object = false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        if !can_be_object && passed_over.len() < PASSED_OVER_LIMIT {
            passed_over.push(key);
            continue;
        }
        if !can_be_object || start.leaves_out(&key) {
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
    Ok(Smallest { entries: smallest.into_sorted_vec(), passed_over, more, read })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    /// A folder with so many entries, unchanged for a minute.
    fn folder(entries: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..entries {
            File::create(folder.path().join(format!("{number:06}"))).unwrap();
        }
        set_changed(folder.path(), 60);
        folder
    }

    fn set_changed(folder: &Path, seconds_ago: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds_ago);
        File::open(folder).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    fn names(windows: &Windows, root: &Path, start: Start) -> Vec<String> {
        windows.read(root, "", &start).unwrap().from(&start).to_vec()
    }

    #[test]
    fn windows_follow_each_other_to_the_end() {
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
    fn a_large_folder_is_read_once_for_many_places() {
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
    fn no_change_goes_unnoticed() {
        let folder = folder(SMALL_ENTRIES);
        let windows = Windows::default();
        let at_end = || Start::at("000999".into());
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999"]);
        File::create(folder.path().join("000999x")).unwrap();
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999", "000999x"]);
        // Now the folder has just changed: another change may come with the same time.
        set_changed(folder.path(), 0);
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999", "000999x"]);
        let time = fs::metadata(folder.path()).unwrap().modified().unwrap();
        fs::remove_file(folder.path().join("000999")).unwrap();
        let same_time = FileTimes::new().set_modified(time);
        File::open(folder.path()).unwrap().set_times(same_time).unwrap();
        assert_eq!(names(&windows, folder.path(), at_end()), ["000999x"]);
    }

    #[test]
    fn few_windows_are_kept() {
        let folder = folder(SMALL_ENTRIES + 2 * KEPT_WINDOWS);
        let windows = Windows::default();
        for number in (0..2 * KEPT_WINDOWS).rev() {
            names(&windows, folder.path(), Start::at(format!("{number:06}")));
        }
        assert_eq!(windows.lock().len(), KEPT_WINDOWS);
    }
}
