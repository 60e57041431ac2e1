//! Pages of exports from several places, newest first.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Catalog, Export, ExportState, Filter, PagePosition, ReadError, StoredBundle, layout, records,
};
use crate::{
    bundle::{AcceptedTime, Destination, ExportId, FolderName},
    store::{ListRequest, Store, StoreKind},
};

/// Manifests read side by side.
const PARALLEL_READS: usize = 16;
/// Index entries looked at for one page before it ends early: bounds the time a filter that
/// matches little can take.
const ENTRIES_PER_PAGE: usize = 2_000;
/// Keys asked of a store at once, S3's own limit.
const LARGEST_LISTING: usize = 1_000;

/// Which exports to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// What they must meet.
    pub filter: Filter,
    /// Only those behind this place.
    pub after: Option<PagePosition>,
    /// At most this many, at least 1.
    pub page_size: usize,
}

/// Some exports, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The exports.
    pub exports: Vec<Export>,
    /// How far the search came; none when it came to the end.
    pub next: Option<PagePosition>,
}

impl Catalog {
    /// A page of the stores' bundles and of these exports of this process. An export found in
    /// several places appears once: as S3 has it, else as the local store has it, else as the
    /// process has it.
    pub async fn list(&self, query: &ListQuery, running: Vec<Export>) -> Result<Page, ReadError> {
        let is_ahead =
            |export: &Export| query.after.is_none_or(|after| PagePosition::of(export) > after);
        let mut sources = Vec::new();
        for store in &self.stores {
            if query.filter.may_match_in(store.kind()) {
                sources.push(Source::index(store.clone(), query));
            }
        }
        let mut running: Vec<Export> = running.into_iter().filter(is_ahead).collect();
        running.sort_by_key(PagePosition::of);
        sources.push(Source { ready: running.into(), index: None });

        let mut page = Page { exports: Vec::new(), next: None };
        let mut last = query.after;
        loop {
            for source in &mut sources {
                source.fill(&is_ahead).await?;
            }
            // Behind the place where a source stopped looking, it may have exports that come first.
            let limit = sources.iter().filter_map(Source::stopped_at).min();
            // Where two sources are level, the one named first wins.
            let first = sources
                .iter_mut()
                .filter_map(|source| Some((PagePosition::of(source.ready.front()?), source)))
                .min_by_key(|(position, _)| *position)
                .filter(|(position, _)| limit.is_none_or(|limit| *position <= limit));
            let Some((position, source)) = first else {
                page.next = limit;
                return Ok(page);
            };
            let export = source.ready.pop_front();
            if last == Some(position) {
                continue; // The same export from a place that is believed less.
            }
            if let Some(export) = export.filter(|export| query.filter.matches(export)) {
                if page.exports.len() == query.page_size {
                    page.next = last;
                    return Ok(page);
                }
                page.exports.push(export);
            }
            last = Some(position);
        }
    }
}

/// Exports in order, from one place.
struct Source {
    ready: VecDeque<Export>,
    /// Where more come from.
    index: Option<IndexReader>,
}

impl Source {
    fn index(store: Arc<dyn Store>, query: &ListQuery) -> Self {
        let start_after = query.after.map(|after| layout::index_position(after.time()));
        let batch_size = (query.page_size + 1).min(LARGEST_LISTING);
        let reader = IndexReader {
            store,
            start_after,
            batch_size,
            entries_left: ENTRIES_PER_PAGE,
            stopped_at: None,
        };
        Self { ready: VecDeque::new(), index: Some(reader) }
    }

    /// Reads on until an export is ready, the index ends or the budget is used up.
    async fn fill(&mut self, is_ahead: &impl Fn(&Export) -> bool) -> Result<(), ReadError> {
        while let Some(index) = &mut self.index
            && self.ready.is_empty()
            && index.entries_left > 0
        {
            let (exports, more) = index.next_batch().await?;
            self.ready.extend(exports.into_iter().filter(is_ahead));
            if !more {
                self.index = None;
            }
        }
        Ok(())
    }

    /// How far the search came in a source that has more.
    fn stopped_at(&self) -> Option<PagePosition> {
        let index = self.index.as_ref().filter(|_| self.ready.is_empty())?;
        index.stopped_at.map(PagePosition::behind_all_of)
    }
}

/// Reads a store's index from one place on.
struct IndexReader {
    store: Arc<dyn Store>,
    start_after: Option<String>,
    batch_size: usize,
    entries_left: usize,
    stopped_at: Option<AcceptedTime>,
}

impl IndexReader {
    fn request(&self, limit: usize) -> ListRequest {
        ListRequest {
            prefix: layout::index_prefix(),
            start_after: self.start_after.clone(),
            delimited: false,
            limit,
        }
    }

    /// The exports of the next entries in order, and whether there are more entries.
    async fn next_batch(&mut self) -> Result<(Vec<Export>, bool), ReadError> {
        let mut listing = self.store.list(self.request(self.batch_size)).await?;
        if listing.more && whole_times(&listing.keys) == 0 {
            // One microsecond fills the batch.
            listing = self.store.list(self.request(LARGEST_LISTING)).await?;
        }
        let mut keys = listing.keys;
        // A microsecond that fills the largest listing is taken as it comes.
        if listing.more && whole_times(&keys) > 0 {
            keys.truncate(whole_times(&keys));
        }
        self.entries_left = self.entries_left.saturating_sub(keys.len());
        if let Some(last) = keys.last() {
            self.start_after = Some(last.clone());
        }
        let entries: Vec<(AcceptedTime, FolderName)> =
            keys.iter().filter_map(|key| layout::parse_index_entry(key)).collect();
        self.stopped_at = entries.last().map(|(time, _)| *time).or(self.stopped_at);
        let store = &self.store;
        let exports: Vec<Option<Export>> = stream::iter(entries)
            .map(|(time, folder)| async move { indexed_export(store, time, folder).await })
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        let mut exports: Vec<Export> = exports.into_iter().flatten().collect();
        exports.sort_by_key(PagePosition::of);
        Ok((exports, listing.more))
    }
}

/// The export of an index entry; none where the entry leads nowhere. One whose manifest is damaged
/// is shown as such: it must not vanish, and must not hide the others.
async fn indexed_export(
    store: &Arc<dyn Store>,
    time: AcceptedTime,
    folder: FolderName,
) -> Result<Option<Export>, ReadError> {
    match StoredBundle::of_index_entry(store, time, folder.clone()).await {
        Ok(bundle) => Ok(bundle.map(|bundle| bundle.export())),
        Err(error) if error.is_data_loss() => {
            tracing::error!(%folder, %error, "a bundle's manifest can't be believed");
            let entry = records::read_index_entry(store.as_ref(), time, &folder).await?;
            Ok(entry.map(|entry| quarantined(store.as_ref(), entry.export_id, time, folder)))
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

/// How many of these keys come before the last one's microsecond, of which more may follow: exports
/// of one microsecond are ordered by id, which their index entries' names don't tell, so they are
/// read together.
fn whole_times(keys: &[String]) -> usize {
    let time_of = |key: &String| layout::parse_index_entry(key).map(|(time, _)| time);
    let Some(last) = keys.last().map(time_of) else { return 0 };
    keys.partition_point(|key| time_of(key) != last)
}
