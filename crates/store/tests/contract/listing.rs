//! The contract of every store: listing keys.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use tara_export_store::{ListRequest, Listing, Store, StoreKind};

use crate::contract::{key, payload};

/// Names that are known to cause problems with URLs, XML, signatures, Unicode normalization and disks.
pub(crate) fn unusual_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "with space/a b.txt",
        "plus+plus/a+b",
        "per%20cent/%2F%",
        "amp&amp;<xml>",
        "quote'\"`",
        "hash#question?semi;colon:",
        "(brackets)[]{}*!@$=,~^|",
        "dots/foo..bar/...",
        ".hidden/.file",
        // The first is in NFC, the second in NFD: two names.
        "caf\u{e9}",
        "cafe\u{301}",
        "日本語/報告書.docx",
        "한국어",
        "😀/👩‍👩‍👧.json",
        // After the emoji in UTF-16, before it in UTF-8.
        "\u{ff5e}",
        "עברית",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(255));
    names.push(format!("deep/{}/{}", "é".repeat(127), "日".repeat(85)));
    names
}

/// Nested folders, and the unusual names.
fn names_in_folders() -> Vec<String> {
    let mut names = unusual_names();
    names.extend(
        [
            "a/b/c", "a/b/d/e", "a/b/d/f", "a/c", "a/z", "a0", "aa/x", "b", "b0", "index/1",
            "index/2", "index/3",
        ]
        .map(str::to_owned),
    );
    names
}

/// Names whose order is error-prone: `-` and `.` sort before `/`, `0` after it.
fn names_around_slashes() -> Vec<String> {
    [
        "a-b", "a.b", "a/b-c", "a/b.c", "a/b/c", "a/b/d/e", "a/b0", "a/z", "a0", "aa/x", "b",
        "b-/x", "b0", "b1/y",
    ]
    .map(str::to_owned)
    .into()
}

async fn fill(store: &dyn Store, names: Vec<String>) -> BTreeSet<String> {
    for name in &names {
        store.put_if_absent(&key(name), payload("x")).await.unwrap();
    }
    names.into_iter().collect()
}

/// The expected listing, computed from its definition.
fn expected(names: &BTreeSet<String>, request: &ListRequest) -> Listing {
    let mut entries: BTreeSet<String> = BTreeSet::new();
    for name in names.iter().filter(|name| name.starts_with(&request.prefix)) {
        let below = &name[request.prefix.len()..];
        entries.insert(match below.find('/') {
            Some(end) if request.delimited => name[..=request.prefix.len() + end].to_owned(),
            _ => name.clone(),
        });
    }
    entries
        .retain(|entry| request.start_after.as_ref().is_none_or(|start_after| entry > start_after));
    let more = entries.len() > request.limit;
    let (folders, keys) =
        entries.into_iter().take(request.limit).partition(|entry| entry.ends_with('/'));
    Listing { keys, folders, more, ..Listing::default() }
}

/// Lists every combination of these arguments, and compares the results with the definition.
async fn compare(store: &dyn Store, names: &BTreeSet<String>, prefixes: &[&str], starts: &[&str]) {
    let starts: Vec<Option<String>> =
        std::iter::once(None).chain(starts.iter().map(|start| Some((*start).to_owned()))).collect();
    let mut requests = Vec::new();
    for prefix in prefixes {
        for start_after in &starts {
            for delimited in [false, true] {
                for limit in [1, 3, 1000] {
                    let (prefix, start_after) = ((*prefix).to_owned(), start_after.clone());
                    requests.push(ListRequest { prefix, start_after, delimited, limit });
                }
            }
        }
    }
    for batch in requests.chunks(8) {
        let listings =
            try_join_all(batch.iter().map(|request| store.list(request.clone()))).await.unwrap();
        for (request, listing) in batch.iter().zip(listings) {
            let without_times = Listing { modified_times: Vec::new(), ..listing };
            assert_eq!(without_times, expected(names, request), "{request:?}");
        }
    }
}

pub(crate) async fn listings_match_a_sorted_set(store: Arc<dyn Store>) {
    let names = fill(&*store, names_in_folders()).await;
    let starts =
        ["a/", "a/b/", "a/b/c", "a/b/d/", "a/zz", "b", "caf\u{e9}", "index/1", "😀/", "zzz"];
    let prefixes = ["", "a/", "a/b/", "index/", "with space/", "日本語/", "missing/"];
    compare(&*store, &names, &prefixes, &starts).await;
}

/// A separate test because SeaweedFS lists folder by folder, `a/b` before `a-b`, and after `a/b` omits
/// `a/b/c`.
pub(crate) async fn listings_around_slashes_are_in_byte_order(store: Arc<dyn Store>) {
    let names = fill(&*store, names_around_slashes()).await;
    let starts = [
        "a", "a-b", "a.b", "a/", "a/b", "a/b-c", "a/b/", "a/b/c", "a/b0", "a0", "b-/", "b-/x",
        "zzz",
    ];
    compare(&*store, &names, &["", "a/", "a/b/", "b-/"], &starts).await;
}

/// A store may omit the times; S3 never does.
pub(crate) async fn listed_times_match_the_objects(store: Arc<dyn Store>) {
    fill(&*store, names_in_folders()).await;
    let (prefix, start_after) = ("a/".to_owned(), Some("a/b/c".to_owned()));
    let request = ListRequest { prefix, start_after, delimited: false, limit: 3 };
    let listing = store.list(request).await.unwrap();
    assert_eq!(listing.keys, ["a/b/d/e", "a/b/d/f", "a/c"]);
    if store.kind() == StoreKind::S3 {
        assert_eq!(listing.modified_times.len(), listing.keys.len());
    }
    for (listed, time) in listing.keys_with_times() {
        let modified_time = store.head(&key(listed)).await.unwrap().modified_time.unwrap();
        // S3 returns milliseconds in listings, and seconds in the header of a response.
        let is_equal = |time: DateTime<Utc>| time.timestamp() == modified_time.timestamp();
        assert!(time.is_none_or(is_equal), "{listed}: {time:?}, {modified_time}");
    }
}

pub(crate) async fn pages_of_one_entry_cover_the_listing(store: Arc<dyn Store>) {
    let names = fill(&*store, names_in_folders()).await;
    for delimited in [false, true] {
        let all = ListRequest { prefix: String::new(), start_after: None, delimited, limit: 1000 };
        let listing = expected(&names, &all);
        let mut entries: Vec<String> = listing.keys.into_iter().chain(listing.folders).collect();
        entries.sort_unstable();
        let mut paged: Vec<String> = Vec::new();
        loop {
            let page = ListRequest { start_after: paged.last().cloned(), limit: 1, ..all.clone() };
            let Listing { keys, folders, more, .. } = store.list(page).await.unwrap();
            paged.extend(keys);
            paged.extend(folders);
            if !more {
                break;
            }
            assert!(paged.len() < entries.len(), "unexpected further entries after {paged:?}");
        }
        assert_eq!(paged, entries);
    }
}

pub(crate) async fn empty_store_lists_nothing(store: Arc<dyn Store>) {
    for (prefix, delimited) in [("", false), ("", true), ("a/", false)] {
        let request =
            ListRequest { prefix: prefix.to_owned(), start_after: None, delimited, limit: 1 };
        assert_eq!(store.list(request).await.unwrap(), Listing::default());
    }
}
