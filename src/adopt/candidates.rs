//! The folders of a store, page by page.

use std::collections::VecDeque;

use futures::{Stream, stream};

use super::retry::retrying;
use crate::store::{ListRequest, Store, StoreError};

/// Folders asked for at once.
const PAGE_SIZE: usize = 1_000;
/// The service's own records.
const OWN: &str = ".tara-export";

/// The names of all folders, in order, without the service's own. What lies beside them and can be no
/// folder of a store, such as a symbolic link, is among them: who opens it finds nothing.
pub(super) fn folders(
    store: &dyn Store,
) -> impl Stream<Item = Result<String, StoreError>> + Send + '_ {
    struct State {
        ready: VecDeque<String>,
        start_after: Option<String>,
        more: bool,
    }
    let start = State { ready: VecDeque::new(), start_after: None, more: true };
    stream::try_unfold(start, move |mut state| async move {
        loop {
            if let Some(name) = state.ready.pop_front() {
                return Ok(Some((name, state)));
            }
            if !state.more {
                return Ok(None);
            }
            let request = ListRequest {
                prefix: String::new(),
                start_after: state.start_after.clone(),
                delimited: true,
                limit: PAGE_SIZE,
            };
            let listing = retrying(|| store.list(request.clone())).await?;
            // Files beside the folders count for where the next page begins.
            let last = listing.folders.iter().chain(&listing.keys).max().cloned();
            state.more = listing.more && last.is_some();
            state.start_after = last.or(state.start_after);
            let names = listing.folders.iter().map(|folder| folder.trim_end_matches('/'));
            state.ready.extend(names.filter(|name| *name != OWN).map(str::to_owned));
        }
    })
}
