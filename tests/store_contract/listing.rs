//! What every store lists.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::try_join_all;
use tara_export::store::{ListRequest, Listing, Store};

use crate::contract::{key, payload};

/// Names that URLs, XML, signatures, normal forms and disks have all been known to spoil.
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

/// Folders in folders, beside the unusual names.
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

/// Names whose order is easily got wrong: `-` and `.` come before `/`, `0` after it.
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

/// What a listing is by its definition.
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
    Listing { keys, folders, passed_over: Vec::new(), more }
}

/// Asks for every combination of these, and compares with the definition.
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
    for some in requests.chunks(8) {
        let listings =
            try_join_all(some.iter().map(|request| store.list(request.clone()))).await.unwrap();
        for (request, listing) in some.iter().zip(listings) {
            assert_eq!(listing, expected(names, request), "{request:?}");
        }
    }
}

pub(crate) async fn listings_agree_with_a_sorted_set(store: Arc<dyn Store>) {
    let names = fill(&*store, names_in_folders()).await;
    let starts =
        ["a/", "a/b/", "a/b/c", "a/b/d/", "a/zz", "b", "caf\u{e9}", "index/1", "😀/", "zzz"];
    let prefixes = ["", "a/", "a/b/", "index/", "with space/", "日本語/", "missing/"];
    compare(&*store, &names, &prefixes, &starts).await;
}

/// Apart from the others because SeaweedFS lists folder by folder, `a/b` before `a-b`, and after
/// `a/b` leaves out `a/b/c`.
pub(crate) async fn listings_keep_the_order_of_bytes_around_slashes(store: Arc<dyn Store>) {
    let names = fill(&*store, names_around_slashes()).await;
    let starts = [
        "a", "a-b", "a.b", "a/", "a/b", "a/b-c", "a/b/", "a/b/c", "a/b0", "a0", "b-/", "b-/x",
        "zzz",
    ];
    compare(&*store, &names, &["", "a/", "a/b/", "b-/"], &starts).await;
}

pub(crate) async fn paging_one_by_one_gives_the_whole(store: Arc<dyn Store>) {
    let names = fill(&*store, names_in_folders()).await;
    for delimited in [false, true] {
        let whole =
            ListRequest { prefix: String::new(), start_after: None, delimited, limit: 1000 };
        let listing = expected(&names, &whole);
        let mut entries: Vec<String> = listing.keys.into_iter().chain(listing.folders).collect();
        entries.sort_unstable();
        let mut paged: Vec<String> = Vec::new();
        loop {
            let page =
                ListRequest { start_after: paged.last().cloned(), limit: 1, ..whole.clone() };
            let Listing { keys, folders, more, .. } = store.list(page).await.unwrap();
            paged.extend(keys);
            paged.extend(folders);
            if !more {
                break;
            }
            assert!(paged.len() < entries.len(), "there should be no more after {paged:?}");
        }
        assert_eq!(paged, entries);
    }
}

pub(crate) async fn an_empty_store_lists_nothing(store: Arc<dyn Store>) {
    for (prefix, delimited) in [("", false), ("", true), ("a/", false)] {
        let request =
            ListRequest { prefix: prefix.to_owned(), start_after: None, delimited, limit: 1 };
        assert_eq!(store.list(request).await.unwrap(), Listing::default());
    }
}
