//! Replicas with `JOURNAL=store`, and their journal entries in the store.

use std::{fs, path::PathBuf};

use crate::{
    fake_s3::{FakeS3, JOURNAL_ON_DISK},
    harness::within,
    requests::id,
};

pub(crate) const STORE_JOURNAL: [&str; 6] = [
    "--journal=store",
    "--s3-bucket-name=bucket",
    "--takeover-interval=100ms",
    "--takeover-age=0ms",
    "--shutdown-timeout=0s",
    "--s3-retry-budget=10m",
];

/// Waits until the journal in the store is empty.
pub(crate) async fn until_no_entries(s3: &FakeS3) {
    let journal = s3.root().join(JOURNAL_ON_DISK);
    let waiting = async {
        while fs::read_dir(&journal).is_ok_and(|mut entries| entries.next().is_some()) {
            tokio::task::yield_now().await;
        }
    };
    within("the store's journal to be empty", waiting).await;
}

/// The entries of an export in the store's journal, each followed by its end marker.
pub(crate) fn entries_of(s3: &FakeS3, number: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(s3.root().join(JOURNAL_ON_DISK)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&id(number)))
        .collect();
    paths.sort();
    paths
}
