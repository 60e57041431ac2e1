//! Pages of exports from several sources, newest first.

use std::collections::VecDeque;

use futures::future::try_join_all;

use super::{
    Catalog, Export, Filter, PagePosition, ReadError,
    index::{Found, IndexReader},
};

/// A page ends after the export with which it exceeds this number of files: each needs about three hundred
/// bytes of memory. A bundle of this service has about a dozen files; adopted bundles may have thousands.
const FILES_PER_PAGE: usize = 50_000;

/// Which exports to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// The filter that they must match.
    pub filter: Filter,
    /// Only exports after this position.
    pub after: Option<PagePosition>,
    /// At most this many, at least 1.
    pub page_size: usize,
}

/// A page of exports, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The exports.
    pub exports: Vec<Export>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<PagePosition>,
}

impl Catalog {
    /// Lists a page of the stores' bundles and of these exports of this process. An export in several
    /// sources is listed once: from S3, else from the local store, else from the process.
    ///
    /// A full page has a `next` unless it is known to be the last; nothing is read only to find out.
    pub async fn list(&self, query: &ListQuery, running: Vec<Export>) -> Result<Page, ReadError> {
        let is_after_start =
            |position: PagePosition| query.after.is_none_or(|after| position > after);
        let mut sources = self.sources(query, running);
        let mut page = Page { exports: Vec::new(), next: None };
        let mut last = query.after;
        loop {
            let files = page.exports.iter().map(|export: &Export| export.artifacts.len());
            let is_full = files.sum::<usize>() > FILES_PER_PAGE;
            let requested = query.page_size - page.exports.len();
            if requested == 0 || is_full {
                let has_more = sources.iter().any(|source| source.has_more_after(last));
                page.next = last.filter(|_| has_more);
                return Ok(page);
            }
            try_join_all(sources.iter_mut().map(|source| source.fill(requested, &is_after_start)))
                .await?;
            // After the position where a source stopped, it may have exports that come first.
            let limit = sources.iter().filter_map(Source::stopped_at).min();
            // Of two sources at the same position, the first one wins whose bundle can be read.
            let first = sources
                .iter_mut()
                .filter_map(|source| {
                    let found = source.ready.front()?;
                    Some((found.position(), found.is_unreadable(), source))
                })
                .min_by_key(|(position, is_unreadable, _)| (*position, *is_unreadable))
                .map(|(position, _, source)| (position, source))
                .filter(|(position, _)| limit.is_none_or(|limit| *position <= limit));
            let Some((position, source)) = first else {
                page.next = limit;
                return Ok(page);
            };
            let found = source.ready.pop_front();
            if last == Some(position) {
                continue; // The same export from a source of lower precedence.
            }
            last = Some(position);
            let export =
                found.map(Found::into_export).filter(|export| query.filter.matches(export));
            page.exports.extend(export.map(|export| Export { replacements: [].into(), ..export }));
        }
    }

    /// The sources of the page's exports, in order of precedence.
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

/// Exports of one source, in order.
struct Source {
    ready: VecDeque<Found>,
    /// The index with further exports.
    index: Option<IndexReader>,
}

impl Source {
    /// Reads until an export is ready, the index ends or the budget is exhausted.
    async fn fill(
        &mut self,
        requested: usize,
        is_after_start: &impl Fn(PagePosition) -> bool,
    ) -> Result<(), ReadError> {
        while let Some(index) = &mut self.index
            && self.ready.is_empty()
            && !index.is_budget_exhausted()
        {
            let found = index.next_batch(requested).await?;
            self.ready.extend(found.into_iter().filter(|found| is_after_start(found.position())));
            if !index.has_more() {
                self.index = None;
            }
        }
        Ok(())
    }

    /// The position that a source with more exports has reached.
    fn stopped_at(&self) -> Option<PagePosition> {
        self.index.as_ref().filter(|_| self.ready.is_empty())?.reached()
    }

    /// Whether the source may have exports after this position.
    fn has_more_after(&self, last: Option<PagePosition>) -> bool {
        self.index.is_some() || self.ready.iter().any(|found| Some(found.position()) > last)
    }
}
