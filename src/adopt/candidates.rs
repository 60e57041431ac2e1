//! Lists the folders of a store page by page.

use std::collections::VecDeque;

use futures::{Stream, stream};
use tara_export_store::{ListRequest, Store, StoreError};

use super::retry::retrying;

/// Folders per request.
const PAGE_SIZE: usize = 1_000;
/// The folder of the service's records.
const SERVICE_FOLDER: &str = ".tara-export";

/// The names of all folders in order, without the service's own folder. May include entries that are not folders of
/// the store, such as symbolic links. Reading them finds no files.
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
            // The next page begins after the last folder or file.
            let last = listing.folders.iter().chain(&listing.keys).max().cloned();
            state.more = listing.more && last.is_some();
            state.start_after = last.or(state.start_after);
            let names = listing.folders.iter().map(|folder| folder.trim_end_matches('/'));
            state.ready.extend(names.filter(|name| *name != SERVICE_FOLDER).map(str::to_owned));
        }
    })
}
