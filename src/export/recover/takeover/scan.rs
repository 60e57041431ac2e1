//! One scan of the store's journal, page by page.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tara_export_catalog::layout;
use tara_export_store::{ListRequest, StoreError};
use tokio::time::Instant;

use super::{
    Takeover,
    candidates::{Candidate, CandidateKey},
};

/// Keys per page of a listing.
const PAGE_SIZE: usize = 1_000;

/// Offers every entry that has no end marker and is old enough.
pub(super) async fn scan(takeover: &Takeover) -> Result<(), StoreError> {
    let journal = takeover.shared.journal().ok();
    let suspects = journal.map(|journal| journal.suspected_takeovers()).unwrap_or_default();
    let mut unseen_suspects = suspects.clone();
    let mut offer = |entry: Listed| {
        if let Some(key) = layout::parse_journal_entry(&entry.key) {
            unseen_suspects.remove(&key);
            takeover.offer(key, entry.modified_time, &suspects);
        }
    };
    takeover.candidates.begin_scan();
    takeover.first_seen.begin_scan();
    let mut start_after = None;
    // The previous entry. Its end marker would be the next key.
    let mut last: Option<Listed> = None;
    loop {
        let request = ListRequest {
            prefix: layout::journal_prefix(),
            start_after: start_after.take(),
            delimited: false,
            limit: PAGE_SIZE,
        };
        let listing = takeover.s3.list(request).await?;
        for (key, modified_time) in listing.keys_with_times() {
            match layout::entry_of_end_marker(key) {
                Some(entry) => {
                    let _ended = last.take_if(|last| last.key == entry);
                }
                None => {
                    let next = Listed { key: key.clone(), modified_time };
                    last.replace(next).into_iter().for_each(&mut offer);
                }
            }
        }
        match listing.keys.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => break,
        }
    }
    last.into_iter().for_each(offer);
    takeover.candidates.end_scan();
    takeover.first_seen.end_scan();
    if let Some(journal) = journal {
        for (export_id, content_digest) in unseen_suspects {
            journal.forget_takeover(export_id, content_digest).await;
        }
    }
    Ok(())
}

/// An entry of a listing.
struct Listed {
    key: String,
    modified_time: Option<DateTime<Utc>>,
}

impl Takeover {
    /// Offers an entry without an end marker if it is old enough and this replica does not have the export.
    fn offer(
        &self,
        key: CandidateKey,
        modified_time: Option<DateTime<Utc>>,
        suspects: &HashSet<CandidateKey>,
    ) {
        let (export_id, content_digest) = key;
        let is_young = modified_time.is_some_and(|time| !self.is_old(key, time));
        if !is_young && !self.has_export(export_id) {
            let candidate = Candidate { export_id, content_digest, modified_time };
            self.candidates.offer(candidate, suspects.contains(&key), Instant::now());
        }
    }
}
