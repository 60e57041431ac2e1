//! Index entries in shards, and in the folder of previous releases.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy},
    prop_oneof, proptest,
    sample::select,
};
use tara_export_digest::Sha256;
use tara_export_disk::counts;
use tempfile::TempDir;

use super::{
    shards::{INDEX, SHARDS, index_name},
    *,
};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn payload(text: &'static str) -> Payload {
    Payload::new(Bytes::from_static(text.as_bytes()), Sha256::of(text.as_bytes()), "text/plain")
}

/// The key of an index entry.
fn entry(digits: u64) -> String {
    format!("{INDEX}{digits:016}_report")
}

/// A store whose shards have at most this many entries.
fn store(max_entries: usize) -> (TempDir, LocalStore) {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let shards = Arc::new(Shards::with_max_entries(max_entries));
    (root, LocalStore { shards, ..store })
}

fn put(store: &LocalStore, text: &str) -> PutOutcome {
    store.write(&key(text), &payload("x")).unwrap()
}

/// Writes a file as a previous release does.
fn write_old(root: &Path, text: &str) {
    let path = root.join(text);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
}

fn list(store: &LocalStore, request: &ListRequest) -> Listing {
    list::list(store.root(), &store.windows, request).unwrap()
}

fn of_index(start_after: Option<&str>, limit: usize) -> ListRequest {
    let start_after = start_after.map(str::to_owned);
    ListRequest { prefix: INDEX.to_owned(), start_after, delimited: false, limit }
}

fn all_keys(store: &LocalStore) -> Vec<String> {
    list(store, &of_index(None, 1_000)).keys
}

/// The files below a folder, by their relative paths.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(
                self::files(&entry.path()).into_iter().map(|file| format!("{name}/{file}")),
            );
        } else {
            files.insert(name);
        }
    }
    files
}

#[test]
fn full_shard_gets_no_more_entries() {
    let (root, store) = store(2);
    let digits = [
        9_982_035_412_345_671,
        9_982_035_412_345_672,
        9_982_035_412_345_673,
        9_982_035_412_345_674,
        9_982_035_412_345_675,
        9_982_135_412_345_676,
        9_983_035_412_345_677,
    ];
    for digits in digits {
        assert_eq!(put(&store, &entry(digits)), PutOutcome::Created);
    }
    let expected = [
        "9982/9982035412345671_report",
        "9982/9982035412345672_report",
        "9982/998203/9982035412345673_report",
        "9982/998203/9982035412345674_report",
        "9982/998203/99820354/9982035412345675_report",
        "9982/998213/9982135412345676_report",
        "9983/9983035412345677_report",
    ];
    assert_eq!(files(&root.path().join(SHARDS)), expected.map(str::to_owned).into());
    assert_eq!(all_keys(&store), digits.map(entry));
    for digits in digits {
        assert_eq!(put(&store, &entry(digits)), PutOutcome::Exists);
    }
    // Another process counts again.
    let again = LocalStore { shards: Arc::new(Shards::with_max_entries(2)), ..store };
    put(&again, &entry(9_982_035_412_345_670));
    assert!(root.path().join(SHARDS).join("9982/998203/99820354/9982035412345670_report").exists());
}

#[test]
fn put_of_index_entry_syncs_its_shard_alone() {
    let (_root, store) = store(2);
    let synced = |digits| {
        let before = counts::DIRECTORIES.get();
        put(&store, &entry(digits));
        counts::DIRECTORIES.get() - before
    };
    synced(9_982_035_412_345_671);
    assert_eq!(synced(9_982_035_412_345_672), 1);
    // The shard of the next level is new: its entry in its parent is synced, too.
    assert_eq!(synced(9_982_035_412_345_673), 2);
    assert_eq!(synced(9_982_035_412_345_674), 1);
}

#[test]
fn deleted_entries_leave_no_folders_and_free_their_shard() {
    let (root, store) = store(1);
    let digits = [9_982_035_412_345_671, 9_982_035_412_345_672];
    for digits in digits {
        put(&store, &entry(digits));
    }
    store.remove(&key(&entry(digits[0]))).unwrap();
    put(&store, &entry(9_982_035_412_345_673));
    assert!(root.path().join(SHARDS).join("9982/9982035412345673_report").exists());
    for digits in [digits[1], 9_982_035_412_345_673] {
        store.remove(&key(&entry(digits))).unwrap();
    }
    let own: Vec<_> = fs::read_dir(root.path().join(OWN)).unwrap().collect();
    assert_eq!(own.len(), 1, "{own:?}");
}

#[test]
fn delete_of_missing_entry_syncs_folders_that_may_have_had_it() {
    let (_root, store) = store(9);
    put(&store, &entry(9_982_035_412_345_671));
    let before = counts::DIRECTORIES.get();
    store.remove(&key(&entry(9_982_035_412_345_672))).unwrap();
    // The service's own folder, which may have had `index/`, and the shard.
    assert_eq!(counts::DIRECTORIES.get() - before, 2);
}

#[tokio::test]
async fn files_in_shards_have_no_other_keys() {
    let (root, store) = store(9);
    put(&store, &entry(9_982_035_412_345_671));
    let place = ".tara-export/index-shards/9982/9982035412345671_report";
    assert!(root.path().join(place).exists());
    assert_eq!(store.head(&key(place)).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    for result in [
        store.put_if_absent(&key(place), payload("x")).await.map(|_| ()),
        store.delete(&key(place)).await,
    ] {
        assert_eq!(result.unwrap_err().kind(), StoreErrorKind::Misconfigured);
    }
    for prefix in ["", ".tara-export/"] {
        let request = ListRequest { prefix: prefix.to_owned(), ..of_index(None, 1_000) };
        assert_eq!(list(&store, &request).keys, [entry(9_982_035_412_345_671)]);
    }
    let below = ListRequest { prefix: SHARDS.to_owned(), ..of_index(None, 1_000) };
    assert_eq!(list(&store, &below), Listing::default());
    let delimited =
        ListRequest { prefix: OWN.to_owned() + "/", delimited: true, ..of_index(None, 1_000) };
    assert_eq!(list(&store, &delimited).folders, [INDEX]);
}

#[test]
fn foreign_files_in_shards_are_skipped() {
    let (root, store) = store(9);
    put(&store, &entry(9_982_035_412_345_671));
    let shards = root.path().join(SHARDS);
    let foreign =
        ["README", "9982/README", "9982/9983035412345671_report", "9982/998/x", "998x/x", "99/x"];
    for name in foreign {
        write_old(&shards, name);
    }
    // An entry of the index, but not in a shard.
    write_old(&shards, "9982035412345679_report");
    std::os::unix::fs::symlink(shards.join("9982"), shards.join("9984")).unwrap();
    let listing = list(&store, &of_index(None, 1_000));
    assert_eq!(listing.keys, [entry(9_982_035_412_345_671)]);
    assert_eq!(listing.skipped.len(), 8, "{listing:?}");
    // A put follows no link.
    let error = store.write(&key(&entry(9_984_000_000_000_000)), &payload("x")).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
}

#[tokio::test]
async fn entries_of_previous_release_are_moved_and_their_folder_is_removed() {
    let (root, store) = store(2);
    let mut expected = BTreeSet::new();
    for number in 0..200 {
        let text = entry(9_982_035_412_000_000 + number * 10_000_019);
        write_old(root.path(), &text);
        expected.insert(text);
    }
    let expected: Vec<String> = expected.into_iter().collect();
    assert_eq!(all_keys(&store), expected);
    // It is in its old place: there is one object.
    assert_eq!(put(&store, &expected[7]), PutOutcome::Exists);
    assert_eq!(store.move_old_files().await.unwrap(), 200);
    assert_eq!(all_keys(&store), expected);
    assert!(!root.path().join(INDEX).exists());
    assert_eq!(files(&root.path().join(SHARDS)).len(), 200);
    assert_eq!(put(&store, &expected[7]), PutOutcome::Exists);
    assert_eq!(store.move_old_files().await.unwrap(), 0);
    assert_eq!(store.get(&key(&expected[7])).await.unwrap().info.size_bytes, 1);
}

/// After a downgrade, a previous release can put an entry that a shard has.
#[tokio::test]
async fn entry_in_both_places_is_one_object() {
    let (root, store) = store(9);
    let (same, other) = (entry(9_982_035_412_345_671), entry(9_982_035_412_345_672));
    for text in [&same, &other] {
        put(&store, text);
        write_old(root.path(), text);
    }
    fs::write(root.path().join(&other), "other").unwrap();
    write_old(root.path(), &format!("{INDEX}README"));
    let readme = format!("{INDEX}README");
    assert_eq!(all_keys(&store), [&same, &other, &readme].map(String::clone));
    assert_eq!(store.move_old_files().await.unwrap(), 1);
    assert_eq!(all_keys(&store), [&same, &other, &readme].map(String::clone));
    // Other bytes are not ours to remove.
    assert_eq!(fs::read(root.path().join(&other)).unwrap(), b"other");
    assert!(!root.path().join(&same).exists());
    for text in [&same, &other] {
        store.remove(&key(text)).unwrap();
    }
    assert_eq!(all_keys(&store), [readme]);
}

/// Another process has no lock in common with the one that moves entries, so the readers are another store.
#[test]
fn moved_entries_are_never_missing() {
    const ENTRIES: u64 = 3_000;
    let (root, store) = store(20);
    let reading = LocalStore::open(root.path().to_owned()).unwrap();
    let all: Vec<String> =
        (0..ENTRIES).map(|number| entry(9_982_000_000_000_000 + number * 40_000_003)).collect();
    for text in &all {
        write_old(root.path(), text);
    }
    let is_moved = AtomicBool::new(false);
    thread::scope(|scope| {
        let (reading, all, is_moved) = (&reading, &all, &is_moved);
        scope.spawn(move || {
            while !is_moved.load(Ordering::Relaxed) {
                let (first, second) = (&all[..1_000], &all[1_000..2_000]);
                assert!(list(reading, &of_index(None, 1_000)).keys == first);
                let next = of_index(first.last().map(String::as_str), 1_000);
                assert!(list(reading, &next).keys == second);
            }
        });
        for part in 0..2 {
            scope.spawn(move || {
                while !is_moved.load(Ordering::Relaxed) {
                    for text in all.iter().skip(part).step_by(97) {
                        reading.open_object(&key(text)).unwrap();
                    }
                }
            });
        }
        let mut moved = MovedEntries::default();
        while !moved.has_ended() {
            moved = store.move_entries(moved).unwrap();
        }
        is_moved.store(true, Ordering::Relaxed);
    });
    assert_eq!(files(&root.path().join(SHARDS)).len() as u64, ENTRIES);
}

#[test]
fn concurrent_puts_of_one_entry_create_it_once() {
    let (root, store) = store(1);
    for round in 0..50 {
        let digits = 9_982_035_412_345_000 + round;
        let outcomes: Vec<PutOutcome> = thread::scope(|scope| {
            let put = || scope.spawn(|| put(&store, &entry(digits)));
            // Another entry fills the shard meanwhile.
            let puts = [put(), put(), put()];
            let other = scope.spawn(|| self::put(&store, &entry(digits + 9_000_000)));
            other.join().unwrap();
            puts.map(|put| put.join().unwrap()).into()
        });
        let created = outcomes.iter().filter(|outcome| **outcome == PutOutcome::Created).count();
        assert_eq!(created, 1, "{outcomes:?}");
    }
    assert_eq!(files(&root.path().join(SHARDS)).len(), 100);
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Put(String),
    /// A file of a previous release, after a downgrade.
    PutOld(String),
    Delete(String),
    /// A file that is not an index entry.
    PutForeign(&'static str),
    Move,
    /// Another process forgets the sizes.
    Restart,
}

/// Digits that share prefixes of all lengths.
fn digits() -> impl Strategy<Value = String> {
    vec(select(vec!["00", "01", "99"]), 6).prop_map(|pairs| format!("99{}82", pairs.concat()))
}

fn index_keys() -> impl Strategy<Value = String> {
    (digits(), select(vec!["a", "b.docx", "-"]))
        .prop_map(|(digits, folder)| format!("{INDEX}{digits}_{folder}"))
}

/// Names that sort before, between and after index entries and shards.
fn foreign_names() -> impl Strategy<Value = &'static str> {
    select(vec!["README", "9900", "9900-x", "9900.x", "990001", "99", "99009", "9900x", "!", "a/b"])
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => index_keys().prop_map(Step::Put),
        4 => index_keys().prop_map(Step::PutOld),
        2 => index_keys().prop_map(Step::Delete),
        1 => foreign_names().prop_map(Step::PutForeign),
        1 => Just(Step::Move),
        1 => Just(Step::Restart),
    ]
}

/// Positions in and around the index.
fn starts() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        index_keys().prop_map(Some),
        (digits(), 0..16_usize)
            .prop_map(|(digits, end)| Some(format!("{INDEX}{}", &digits[..end]))),
        foreign_names().prop_map(|name| Some(format!("{INDEX}{name}"))),
        select(vec![
            ".tara-export/a",
            ".tara-export/index",
            ".tara-export/index.",
            ".tara-export/z"
        ])
        .prop_map(|text| Some(text.to_owned())),
    ]
}

fn requests() -> impl Strategy<Value = ListRequest> {
    let prefixes = select(vec![INDEX, ".tara-export/", "", SHARDS]);
    (prefixes, starts(), proptest::bool::ANY, 1..20_usize).prop_map(
        |(prefix, start_after, delimited, limit)| ListRequest {
            prefix: prefix.to_owned(),
            start_after,
            delimited,
            limit,
        },
    )
}

/// The listing as its definition says.
fn expected(keys: &BTreeSet<String>, request: &ListRequest) -> Listing {
    let mut entries = BTreeSet::new();
    for text in keys.iter().filter(|text| text.starts_with(&request.prefix)) {
        entries.insert(match text[request.prefix.len()..].find('/') {
            Some(end) if request.delimited => text[..=request.prefix.len() + end].to_owned(),
            _ => text.clone(),
        });
    }
    entries.retain(|entry| request.start_after.as_ref().is_none_or(|after| entry > after));
    let more = entries.len() > request.limit;
    let (folders, keys) =
        entries.into_iter().take(request.limit).partition(|entry| entry.ends_with('/'));
    Listing { keys, folders, more, ..Listing::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Index entries in both places and in shards of all levels, foreign files, and neighbours of the index.
    #[test]
    fn listing_matches_a_sorted_set(
        history in vec(steps(), 1..60),
        requests in vec(requests(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (root, mut store) = store(2);
        let mut keys: BTreeSet<String> = BTreeSet::new();
        for neighbour in [".tara-export/exports/1", ".tara-export/index.", ".tara-export/jobs/1"] {
            put(&store, neighbour);
            keys.insert(neighbour.to_owned());
        }
        for step in history {
            match step {
                Step::Put(text) => {
                    let is_new = keys.insert(text.clone());
                    assert_eq!(put(&store, &text) == PutOutcome::Created, is_new, "{text}");
                }
                Step::PutOld(text) => {
                    write_old(root.path(), &text);
                    keys.insert(text);
                }
                Step::Delete(text) => {
                    store.remove(&key(&text)).unwrap();
                    keys.remove(&text);
                }
                Step::PutForeign(name) => {
                    let text = format!("{INDEX}{name}");
                    assert!(index_name(&text).is_none());
                    put(&store, &text);
                    keys.insert(text);
                }
                Step::Move => {
                    runtime.block_on(store.move_old_files()).unwrap();
                }
                Step::Restart => {
                    store = LocalStore { shards: Arc::new(Shards::with_max_entries(2)), ..store };
                }
            }
        }
        for text in &keys {
            store.look_up(&key(text)).unwrap();
        }
        for request in requests {
            let listing = Listing { skipped: Vec::new(), ..list(&store, &request) };
            let is_hidden = request.prefix == SHARDS;
            let visible = if is_hidden { &BTreeSet::new() } else { &keys };
            assert_eq!(listing, expected(visible, &request), "{request:?}");
        }
    }
}
