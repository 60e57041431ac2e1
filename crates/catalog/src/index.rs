//! Reads the bundles of a store's index, newest first, in batches.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc};

use futures::{StreamExt as _, stream};
use tara_export_bundle::{AcceptedTime, FolderName};
use tara_export_store::{ListRequest, Store};

use super::{
    Catalog, Export, ExportState, PagePosition, ReadError, StoredBundle, layout,
    unreadable::{self, Explained},
};

/// Manifests that are read concurrently.
const PARALLEL_READS: usize = 32;
/// Index entries that are read for one page before it ends early: bounds the time of a filter with few
/// matches.
const ENTRIES_PER_PAGE: usize = 2_000;
/// Most entries of a batch.
const MAX_BATCH_ENTRIES: usize = 256;
/// A batch ends once its manifests have more than this many bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most keys of a listing, S3's own limit.
const MAX_LISTING_KEYS: usize = 1_000;

/// Reads a store's index from a position on. The cost does not depend on the position: one listing
/// for about as many entries as a page has exports, another listing for each further thousand entries,
/// and one read of the bundle's manifest for each entry that is not in the catalog's cache.
pub(super) struct IndexReader {
    catalog: Catalog,
    store: Arc<dyn Store>,
    start_after: String,
    /// The time of the last export before the page: entries of that time may be on the previous page, and
    /// are read in addition to the requested ones.
    previous_time: Option<AcceptedTime>,
    /// Older entries are not requested.
    earliest: AcceptedTime,
    /// Listed but not read yet.
    listed: VecDeque<(AcceptedTime, FolderName)>,
    /// The limit of the next listing.
    listing_size: usize,
    /// Whether the store has entries that are not listed yet.
    has_unlisted: bool,
    /// The minimum number of entries of the next batch.
    batch_size: usize,
    entries_left: usize,
    reached: Option<AcceptedTime>,
}

/// An export of the index or of this process.
pub(super) enum Found {
    /// A committed bundle.
    Bundle(Arc<StoredBundle>),
    /// An export without a readable manifest, with the known fields; or an export of this process.
    Described(Box<Export>),
}

impl Found {
    pub(super) fn position(&self) -> PagePosition {
        match self {
            Self::Bundle(bundle) => {
                let manifest = bundle.manifest();
                PagePosition::at(manifest.accepted_time, manifest.export_id)
            }
            Self::Described(export) => PagePosition::of(export),
        }
    }

    /// Whether it is in a store but cannot be read there.
    pub(super) fn is_unreadable(&self) -> bool {
        match self {
            Self::Bundle(_) => false,
            Self::Described(export) => export.state == ExportState::Quarantined,
        }
    }

    /// The size of its manifest.
    fn manifest_bytes(&self) -> usize {
        match self {
            Self::Bundle(bundle) => bundle.manifest_artifact().size_bytes as usize,
            Self::Described(_) => 0,
        }
    }

    pub(super) fn into_export(self) -> Export {
        match self {
            Self::Bundle(bundle) => bundle.export(),
            Self::Described(export) => *export,
        }
    }
}

impl IndexReader {
    /// Reads the entries of these times from the start of a page on.
    pub(super) fn new(
        catalog: Catalog,
        store: Arc<dyn Store>,
        times: RangeInclusive<AcceptedTime>,
        after: Option<PagePosition>,
        page_size: usize,
    ) -> Self {
        // Exports of one microsecond are ordered by id, which the index keys do not contain. So all entries
        // of a microsecond are read together, including those before the start of the page.
        let newest =
            after.map_or(*times.end(), |after| after.newest_time_after().min(*times.end()));
        Self {
            catalog,
            store,
            start_after: layout::index_position(newest),
            previous_time: after.map(|after| after.time()),
            earliest: *times.start(),
            listed: VecDeque::new(),
            // One more entry shows whether the last microsecond continues; another one is the last entry of
            // the previous page.
            listing_size: page_size.saturating_add(2).min(MAX_LISTING_KEYS),
            has_unlisted: true,
            batch_size: 1,
            entries_left: ENTRIES_PER_PAGE,
            reached: None,
        }
    }

    /// Whether the index has more entries.
    pub(super) fn has_more(&self) -> bool {
        self.has_unlisted || !self.listed.is_empty()
    }

    /// Whether the page has read as many entries as it may.
    pub(super) fn is_budget_exhausted(&self) -> bool {
        self.entries_left == 0
    }

    /// The position after all entries that were read.
    pub(super) fn reached(&self) -> Option<PagePosition> {
        self.reached.map(PagePosition::after_all_of)
    }

    /// The exports of the next entries, in order. The first batch has as many entries as are requested,
    /// because nearly every entry has a matching export. Later batches are larger.
    pub(super) async fn next_batch(&mut self, requested: usize) -> Result<Vec<Found>, ReadError> {
        let requested = requested.max(self.batch_size).min(self.entries_left);
        self.batch_size = (self.batch_size * 2).clamp(PARALLEL_READS, MAX_BATCH_ENTRIES);
        let count = loop {
            if let Some(count) = self.batch_len(requested) {
                break count;
            }
            if !self.has_unlisted {
                break self.listed.len();
            }
            self.list().await?;
        };
        let mut entries: VecDeque<(AcceptedTime, FolderName)> =
            self.listed.drain(..count).collect();
        let (catalog, store) = (&self.catalog, &self.store);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while !entries.is_empty() && bytes <= BATCH_BYTES {
            let chunk: Vec<_> = entries.drain(..chunk_len(&entries)).collect();
            self.entries_left = self.entries_left.saturating_sub(chunk.len());
            self.reached = chunk.last().map(|(time, _)| *time).or(self.reached);
            let read: Vec<Result<Option<Found>, ReadError>> = stream::iter(chunk)
                .map(|(time, folder)| read_entry(catalog, store, time, folder))
                .buffered(PARALLEL_READS)
                .collect()
                .await;
            for entry in read {
                let Some(entry) = entry? else { continue };
                bytes += entry.manifest_bytes();
                found.push(entry);
            }
        }
        // The next batch reads the remaining entries.
        entries.into_iter().rev().for_each(|entry| self.listed.push_front(entry));
        found.sort_by_key(Found::position);
        Ok(found)
    }

    /// The least number of listed entries that ends with a complete microsecond and has at least
    /// `requested` entries besides those of the previous page's last microsecond.
    fn batch_len(&self, requested: usize) -> Option<usize> {
        let time = |index: usize| self.listed.get(index).map(|(time, _)| *time);
        let is_previous = |entry: &&(AcceptedTime, FolderName)| Some(entry.0) == self.previous_time;
        let previous = self.listed.iter().take_while(is_previous).count();
        (previous + requested..self.listed.len()).find(|index| time(*index) != time(*index - 1))
    }

    /// Lists more entries. Foreign objects only use up their part of a listing.
    async fn list(&mut self) -> Result<(), ReadError> {
        let request = ListRequest {
            prefix: layout::index_prefix(),
            start_after: Some(self.start_after.clone()),
            delimited: false,
            limit: self.listing_size,
        };
        let listing = self.store.list(request).await?;
        self.listing_size = MAX_LISTING_KEYS;
        self.has_unlisted = listing.more && !listing.keys.is_empty();
        for key in &listing.keys {
            match layout::parse_index_entry(key) {
                Some((time, _)) if time < self.earliest => {
                    self.has_unlisted = false;
                    break;
                }
                Some(entry) => self.listed.push_back(entry),
                None => {}
            }
        }
        if let Some(last) = listing.keys.into_iter().next_back() {
            self.start_after = last;
        }
        Ok(())
    }
}

/// How many of these entries are read before their size is checked. All entries of one microsecond are
/// read together, because they are ordered by id.
fn chunk_len(entries: &VecDeque<(AcceptedTime, FolderName)>) -> usize {
    let time = |index: usize| entries.get(index).map(|(time, _)| *time);
    (PARALLEL_READS..entries.len())
        .find(|index| time(*index) != time(*index - 1))
        .unwrap_or(entries.len())
}

/// The export of an index entry; `None` if its folder has no such bundle. A bundle whose manifest is damaged or
/// cannot be read is returned as quarantined, with the reason: it must neither disappear nor hide the others.
async fn read_entry(
    catalog: &Catalog,
    store: &Arc<dyn Store>,
    time: AcceptedTime,
    folder: FolderName,
) -> Result<Option<Found>, ReadError> {
    let read = || catalog.bundle_of_index_entry(store, time, folder.clone());
    let error = match read().await {
        Ok(bundle) => return Ok(bundle.map(Found::Bundle)),
        Err(error) => error,
    };
    Ok(match unreadable::explain(store.as_ref(), time, &folder, error, read).await? {
        Explained::Readable(bundle) => bundle.map(Found::Bundle),
        Explained::Unreadable(export) => Some(Found::Described(export)),
        Explained::NoExport => None,
    })
}
