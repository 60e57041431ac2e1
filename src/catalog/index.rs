//! Reading the bundles of a store's index, newest first, a few at a time.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Catalog, Export, ExportState, PagePosition, ReadError, StoredBundle, layout, records};
use crate::{
    bundle::{AcceptedTime, Destination, ExportId, FolderName},
    store::{ListRequest, Store, StoreKind},
};

/// Manifests read side by side.
const PARALLEL_READS: usize = 32;
/// Index entries looked at for one page before it ends early: bounds the time a filter that
/// matches little can take.
const ENTRIES_PER_PAGE: usize = 2_000;
/// Entries whose manifests are read before the next are looked at.
const LARGEST_BATCH: usize = 256;
/// A batch ends once its manifests have so many bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Keys asked of a store at once, S3's own limit.
const LARGEST_LISTING: usize = 1_000;

/// Reads a store's index from one place on. Costs what is read of it, wherever that place is: one
/// listing for up to as many entries as a page has exports, the next thousand with each further one;
/// and for each entry, unless it is in the catalog's cache, the bundle's manifest.
pub(super) struct IndexReader {
    catalog: Catalog,
    store: Arc<dyn Store>,
    start_after: String,
    /// The time of the last export before the page: entries of that time may have been shown, and are
    /// read beside those that are wanted.
    shown_time: Option<AcceptedTime>,
    /// No older entry is wanted.
    earliest: AcceptedTime,
    /// Listed and not read yet.
    listed: VecDeque<(AcceptedTime, FolderName)>,
    /// How many the next listing asks for.
    listing_size: usize,
    /// Whether the store has more than is listed.
    more: bool,
    /// The least number of entries that the next batch has.
    batch_size: usize,
    entries_left: usize,
    reached: Option<AcceptedTime>,
}

/// An export that was found.
pub(super) enum Found {
    /// A committed bundle.
    Bundle(Arc<StoredBundle>),
    /// One that has no manifest to be believed, and what is known of it.
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

    /// The size of the manifest that was read for it.
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
    /// Reads the entries of these times from a page's start on.
    pub(super) fn new(
        catalog: Catalog,
        store: Arc<dyn Store>,
        times: RangeInclusive<AcceptedTime>,
        after: Option<PagePosition>,
        page_size: usize,
    ) -> Self {
        // Exports of one microsecond are ordered by id, which the index's names don't tell. So its
        // entries are read together, those before the page's start too.
        let newest =
            after.map_or(*times.end(), |after| after.newest_time_behind().min(*times.end()));
        Self {
            catalog,
            store,
            start_after: layout::index_position(newest),
            shown_time: after.map(|after| after.time()),
            earliest: *times.start(),
            listed: VecDeque::new(),
            // One more shows whether the last one's microsecond goes on, another one is the last that
            // was shown.
            listing_size: page_size.saturating_add(2).min(LARGEST_LISTING),
            more: true,
            batch_size: 1,
            entries_left: ENTRIES_PER_PAGE,
            reached: None,
        }
    }

    /// Whether the index goes on.
    pub(super) fn has_more(&self) -> bool {
        self.more || !self.listed.is_empty()
    }

    /// Whether the page has looked at as many entries as it may.
    pub(super) fn is_budget_used(&self) -> bool {
        self.entries_left == 0
    }

    /// Behind all entries that were looked at.
    pub(super) fn reached(&self) -> Option<PagePosition> {
        self.reached.map(PagePosition::behind_all_of)
    }

    /// What the next entries lead to, in order: of the first batch as many entries as are wanted, since
    /// nearly always each leads to an export that matches; then more and more.
    pub(super) async fn next_batch(&mut self, wanted: usize) -> Result<Vec<Found>, ReadError> {
        let wanted = wanted.max(self.batch_size).min(self.entries_left);
        self.batch_size = (self.batch_size * 2).clamp(PARALLEL_READS, LARGEST_BATCH);
        let count = loop {
            if let Some(count) = self.whole_microseconds(wanted) {
                break count;
            }
            if !self.more {
                break self.listed.len();
            }
            self.list().await?;
        };
        let mut entries: VecDeque<(AcceptedTime, FolderName)> =
            self.listed.drain(..count).collect();
        let (catalog, store) = (&self.catalog, &self.store);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while !entries.is_empty() && bytes <= BATCH_BYTES {
            let chunk: Vec<_> = entries.drain(..whole_chunk(&entries)).collect();
            self.entries_left = self.entries_left.saturating_sub(chunk.len());
            self.reached = chunk.last().map(|(time, _)| *time).or(self.reached);
            let read: Vec<Option<Found>> = stream::iter(chunk)
                .map(|(time, folder)| indexed(catalog, store, time, folder))
                .buffered(PARALLEL_READS)
                .try_collect()
                .await?;
            let read = read.into_iter().flatten();
            found.extend(read.inspect(|found| bytes += found.manifest_bytes()));
        }
        // What is left is the next batch's.
        entries.into_iter().rev().for_each(|entry| self.listed.push_front(entry));
        found.sort_by_key(Found::position);
        Ok(found)
    }

    /// The least number of listed entries, but at least so many that may not have been shown, behind
    /// which another microsecond begins.
    fn whole_microseconds(&self, wanted: usize) -> Option<usize> {
        let time = |index: usize| self.listed.get(index).map(|(time, _)| *time);
        let is_shown = |entry: &&(AcceptedTime, FolderName)| Some(entry.0) == self.shown_time;
        let shown = self.listed.iter().take_while(is_shown).count();
        (shown + wanted..self.listed.len()).find(|index| time(*index) != time(*index - 1))
    }

    /// Lists more entries. What is no entry costs its part of a listing and nothing else.
    async fn list(&mut self) -> Result<(), ReadError> {
        let request = ListRequest {
            prefix: layout::index_prefix(),
            start_after: Some(self.start_after.clone()),
            delimited: false,
            limit: self.listing_size,
        };
        let listing = self.store.list(request).await?;
        self.listing_size = LARGEST_LISTING;
        self.more = listing.more && !listing.keys.is_empty();
        for key in &listing.keys {
            match layout::parse_index_entry(key) {
                Some((time, _)) if time < self.earliest => {
                    self.more = false;
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

/// How many of these entries are read before their size is looked at. All entries of one microsecond are
/// read together, since they are ordered by id.
fn whole_chunk(entries: &VecDeque<(AcceptedTime, FolderName)>) -> usize {
    let time = |index: usize| entries.get(index).map(|(time, _)| *time);
    (PARALLEL_READS..entries.len())
        .find(|index| time(*index) != time(*index - 1))
        .unwrap_or(entries.len())
}

/// What an index entry leads to; none where it leads nowhere. A bundle whose manifest is damaged is
/// shown as such: it must not vanish, and must not hide the others.
async fn indexed(
    catalog: &Catalog,
    store: &Arc<dyn Store>,
    time: AcceptedTime,
    folder: FolderName,
) -> Result<Option<Found>, ReadError> {
    match catalog.of_index_entry(store, time, folder.clone()).await {
        Ok(bundle) => Ok(bundle.map(Found::Bundle)),
        Err(error) if error.is_data_loss() => {
            tracing::error!(%folder, %error, "a bundle's manifest can't be believed");
            let entry = records::read_index_entry(store.as_ref(), time, &folder).await?;
            let export =
                entry.map(|entry| quarantined(store.as_ref(), entry.export_id, time, folder));
            Ok(export.map(|export| Found::Described(Box::new(export))))
        }
        Err(error) => Err(error),
    }
}

/// All that is known of an export without its manifest.
fn quarantined(
    store: &dyn Store,
    export_id: ExportId,
    accepted_time: AcceptedTime,
    folder: FolderName,
) -> Export {
    Export {
        export_id,
        state: ExportState::Quarantined,
        state_reason: "DATA_LOSS".to_owned(),
        document_name: String::new(),
        session_id: String::new(),
        reviewer: String::new(),
        requested_by: String::new(),
        requested_destination: match store.kind() {
            StoreKind::S3 => Destination::S3,
            StoreKind::Local => Destination::Local,
        },
        stored_in: Some(store.kind()),
        location: store.location(&format!("{folder}/")),
        folder_name: Some(folder),
        artifacts: Vec::new(),
        manifest_sha256: None,
        accepted_time,
        committed_time: None,
        adopted: false,
    }
}
