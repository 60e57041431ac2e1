//! Pages of exports from several places, newest first.

use std::collections::VecDeque;

use futures::future::try_join_all;

use super::{
    Catalog, Export, Filter, PagePosition, ReadError,
    index::{Found, IndexReader},
};

/// A page ends behind the export with which it has more files than this: each takes some three hundred
/// bytes in memory. A bundle of this service has some dozen; adopted ones may have thousands.
const FILES_PER_PAGE: usize = 50_000;

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
    ///
    /// A full page has a `next` unless it is known to be the last, so that nothing is read to find
    /// that out.
    pub async fn list(&self, query: &ListQuery, running: Vec<Export>) -> Result<Page, ReadError> {
        let is_ahead = |position: PagePosition| query.after.is_none_or(|after| position > after);
        let mut sources = self.sources(query, running);
        let mut page = Page { exports: Vec::new(), next: None };
        let mut last = query.after;
        loop {
            let files = page.exports.iter().map(|export: &Export| export.artifacts.len());
            let is_full = files.sum::<usize>() > FILES_PER_PAGE;
            let wanted = query.page_size - page.exports.len();
            if wanted == 0 || is_full {
                let has_more = sources.iter().any(|source| source.has_more_than(last));
                page.next = last.filter(|_| has_more);
                return Ok(page);
            }
            try_join_all(sources.iter_mut().map(|source| source.fill(wanted, &is_ahead))).await?;
            // Behind the place where a source stopped looking, it may have exports that come first.
            let limit = sources.iter().filter_map(Source::stopped_at).min();
            // Where two sources are level, the one named first wins.
            let first = sources
                .iter_mut()
                .filter_map(|source| Some((source.ready.front()?.position(), source)))
                .min_by_key(|(position, _)| *position)
                .filter(|(position, _)| limit.is_none_or(|limit| *position <= limit));
            let Some((position, source)) = first else {
                page.next = limit;
                return Ok(page);
            };
            let found = source.ready.pop_front();
            if last == Some(position) {
                continue; // The same export from a place that is believed less.
            }
            last = Some(position);
            let export = found.map(Found::into_export);
            page.exports.extend(export.filter(|export| query.filter.matches(export)));
        }
    }

    /// Where the page's exports may be, the place that is believed most first.
    fn sources(&self, query: &ListQuery, running: Vec<Export>) -> Vec<Source> {
        let mut sources = Vec::new();
        for store in &self.stores {
            if let Some(times) = query.filter.accepted_times()
                && query.filter.may_match_in(store.kind())
            {
                let (catalog, store) = (self.clone(), store.clone());
                let index = IndexReader::new(catalog, store, times, query.after, query.page_size);
                sources.push(Source { ready: VecDeque::new(), index: Some(index) });
            }
        }
        let mut running: Vec<Found> = running
            .into_iter()
            .map(|export| Found::Described(Box::new(export)))
            .filter(|found| query.after.is_none_or(|after| found.position() > after))
            .collect();
        running.sort_by_key(Found::position);
        sources.push(Source { ready: running.into(), index: None });
        sources
    }
}

/// Exports in order, from one place.
struct Source {
    ready: VecDeque<Found>,
    /// Where more come from.
    index: Option<IndexReader>,
}

impl Source {
    /// Reads on until an export is ready, the index ends or the budget is used up.
    async fn fill(
        &mut self,
        wanted: usize,
        is_ahead: &impl Fn(PagePosition) -> bool,
    ) -> Result<(), ReadError> {
        while let Some(index) = &mut self.index
            && self.ready.is_empty()
            && !index.is_budget_used()
        {
            let found = index.next_batch(wanted).await?;
            self.ready.extend(found.into_iter().filter(|found| is_ahead(found.position())));
            if !index.has_more() {
                self.index = None;
            }
        }
        Ok(())
    }

    /// How far the search came in a source that has more.
    fn stopped_at(&self) -> Option<PagePosition> {
        self.index.as_ref().filter(|_| self.ready.is_empty())?.reached()
    }

    /// Whether something may come behind this place.
    fn has_more_than(&self, last: Option<PagePosition>) -> bool {
        self.index.is_some() || self.ready.iter().any(|found| Some(found.position()) > last)
    }
}
