//! Listing keys.
//!
//! Callers rely on the order of the keys and continue after the last key of a page. Some servers list in another
//! order, or ignore `start-after`, so that pages would miss keys without an error. This module finds out which kind
//! of server it is ([`Order`]). For a server without usable order it reads the complete listing for each page, by
//! continuation tokens.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicU8, Ordering},
};

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use chrono::{DateTime, Utc};

use super::{
    super::{ListRequest, Listing, ObjectKey},
    S3Store,
    failure::Failure,
    hedge::{Answer, RequestClass},
    read::time,
};

/// Sorts after all keys of a folder when appended to the folder's prefix.
const AFTER_ALL_BELOW: char = char::MAX;

/// The maximum number of skipped names that a listing reports; callers need only a few.
const SKIPPED_LIMIT: usize = 1_000;

/// The maximum length of a reported name, which is the longest key in S3 (Amazon S3 User Guide, "Naming
/// objects").
const NAME_LIMIT_BYTES: usize = 1_024;

/// The maximum number of pages without any key or folder, and of pages of a complete listing. Each may have 1,000
/// names.
const PAGES_LIMIT: usize = 10_000;

/// The maximum number of keys in a response of S3.
const PAGE_LIMIT: usize = 1_000;

/// The number of names that show the order of a listing. A server with another order lists 16 names in the right
/// order by chance once in 2 * 10^13 listings.
const ORDER_NAMES: usize = 16;

/// Whether this server's listings can be continued after a key.
#[derive(Debug, Default)]
pub(super) struct Order(AtomicU8);

impl Order {
    /// Keys are listed in the order of their bytes. The initial value, 0, means that this is unknown.
    const OF_KEYS: u8 = 1;
    const UNUSABLE: u8 = 2;

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    /// A server that was found unusable stays so.
    fn set(&self, order: u8) {
        self.0.fetch_max(order, Ordering::Relaxed);
    }
}

/// One request for a page.
#[derive(Debug, Clone, Default)]
pub(super) struct PageRequest {
    pub(super) prefix: String,
    pub(super) start_after: Option<String>,
    pub(super) delimited: bool,
    pub(super) max_keys: usize,
    pub(super) token: Option<String>,
}

/// A name in a response: a key, or a folder that ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    text: String,
    modified_time: Option<DateTime<Utc>>,
}

/// The names of a response, as the server ordered them.
struct Page {
    keys: Vec<Name>,
    folders: Vec<Name>,
    more: bool,
    next: Option<String>,
}

impl Page {
    fn names(&self) -> impl Iterator<Item = &Name> {
        self.keys.iter().chain(&self.folders)
    }

    fn len(&self) -> usize {
        self.keys.len() + self.folders.len()
    }

    fn is_ordered(&self) -> bool {
        [&self.keys, &self.folders].iter().all(|names| names.is_sorted_by(|a, b| a.text < b.text))
    }
}

/// The names that a listing returns: the smallest after its start, within its limit.
struct Selected<'a> {
    request: &'a ListRequest,
    names: BTreeMap<String, Option<DateTime<Utc>>>,
    skipped: Vec<String>,
    is_cut: bool,
}

impl<'a> Selected<'a> {
    fn of(request: &'a ListRequest) -> Self {
        Self { request, names: BTreeMap::new(), skipped: Vec::new(), is_cut: false }
    }

    /// Adds the requested names of a page. Omits the `folder/` objects of the S3 console.
    fn add(&mut self, page: &Page) {
        for (is_folder, name) in
            page.keys.iter().map(|key| (false, key)).chain(page.folders.iter().map(|f| (true, f)))
        {
            if !self.is_requested(&name.text) || (!is_folder && name.text.ends_with('/')) {
                continue;
            }
            self.names.insert(name.text.clone(), name.modified_time);
            if self.names.len() > self.request.limit.clamp(1, PAGE_LIMIT) {
                self.names.pop_last();
                self.is_cut = true;
            }
        }
    }

    fn is_requested(&mut self, key: &str) -> bool {
        if self.request.start_after.as_deref().is_some_and(|start_after| key <= start_after) {
            return false;
        }
        if ObjectKey::new(key.strip_suffix('/').unwrap_or(key)).is_ok() {
            return true;
        }
        // The prefix itself may be a folder object of the console.
        if key != self.request.prefix && self.skipped.len() < SKIPPED_LIMIT {
            let end = key.floor_char_boundary(NAME_LIMIT_BYTES);
            self.skipped.push(key[..end].to_owned());
        }
        false
    }

    /// The listing. `more` is whether the server has names after those that were added.
    fn into_listing(self, more: bool) -> Listing {
        let mut listing =
            Listing { skipped: self.skipped, more: more || self.is_cut, ..Listing::default() };
        for (name, modified_time) in self.names {
            if name.ends_with('/') {
                listing.folders.push(name);
            } else {
                listing.keys.push(name);
                listing.modified_times.push(modified_time);
            }
        }
        listing
    }
}

impl Answer for ListObjectsV2Output {}

impl S3Store {
    /// Lists keys below the base path.
    pub(super) async fn list_keys(&self, request: &ListRequest) -> Result<Listing, Failure> {
        match self.order.get() {
            Order::OF_KEYS => self.list_after(request).await,
            Order::UNUSABLE => self.list_all(request).await.map(|(listing, _)| listing),
            _ => self.list_first(request).await,
        }
    }

    /// Lists keys while the server's order is unknown: from the first key of the prefix on, because a complete
    /// listing needs no order, and a long one shows it.
    async fn list_first(&self, request: &ListRequest) -> Result<Listing, Failure> {
        let page = self
            .list_page(&PageRequest {
                prefix: request.prefix.clone(),
                delimited: request.delimited,
                max_keys: request.limit.clamp(ORDER_NAMES, PAGE_LIMIT),
                ..PageRequest::default()
            })
            .await?;
        let is_ordered = page.is_ordered();
        if !is_ordered {
            self.order.set(Order::UNUSABLE);
        } else if page.len() >= ORDER_NAMES {
            self.order.set(Order::OF_KEYS);
        }
        let mut selected = Selected::of(request);
        selected.add(&page);
        if !page.more {
            return Ok(selected.into_listing(false));
        }
        if !is_ordered || page.len() < ORDER_NAMES {
            return self.list_all(request).await.map(|(listing, _)| listing);
        }
        if selected.names.is_empty() {
            return self.list_after(request).await;
        }
        Ok(selected.into_listing(true))
    }

    /// Lists the keys after the start of the request, on a server with usable order.
    async fn list_after(&self, request: &ListRequest) -> Result<Listing, Failure> {
        let mut token = None;
        let mut selected = Selected::of(request);
        for _ in 0..PAGES_LIMIT {
            let page = self
                .list_page(&PageRequest {
                    prefix: request.prefix.clone(),
                    start_after: first_start(request),
                    delimited: request.delimited,
                    max_keys: request.limit.clamp(1, PAGE_LIMIT),
                    token: token.clone(),
                })
                .await?;
            if !page.is_ordered() || page.names().any(|name| is_before_start(request, name)) {
                return self.list_despite_order(request).await;
            }
            selected.add(&page);
            // A page may contain only omitted entries. The caller then has no key to continue from.
            if selected.names.is_empty() && page.more && page.next.is_some() {
                if page.next == token {
                    return Err(Failure::broken_response("the listing repeats the same page"));
                }
                token = page.next;
                continue;
            }
            return Ok(selected.into_listing(page.more));
        }
        Err(Failure::broken_response("the listing does not end"))
    }

    /// Lists keys after a page showed that the server does not continue after a key.
    async fn list_despite_order(&self, request: &ListRequest) -> Result<Listing, Failure> {
        self.order.set(Order::UNUSABLE);
        match self.list_all(request).await? {
            (listing, true) => Ok(listing),
            // Earlier pages relied on the order and may have missed keys.
            (_, false) => Err(Failure::unusable_listing(
                "the server does not list keys in the order of their bytes: list again from the start",
            )),
        }
    }

    /// Reads the complete listing of the prefix by continuation tokens and keeps the requested names. Also returns
    /// whether the server listed them in order.
    async fn list_all(&self, request: &ListRequest) -> Result<(Listing, bool), Failure> {
        let mut page_request = PageRequest {
            prefix: request.prefix.clone(),
            delimited: request.delimited,
            max_keys: PAGE_LIMIT,
            ..PageRequest::default()
        };
        let mut selected = Selected::of(request);
        let mut seen = HashSet::new();
        let (mut last_key, mut last_folder, mut is_ordered) = (None, None, true);
        for _ in 0..PAGES_LIMIT {
            let page = self.list_page(&page_request).await?;
            for (names, last) in [(&page.keys, &mut last_key), (&page.folders, &mut last_folder)] {
                let first = names.first().map(|name| name.text.clone());
                is_ordered &= first.is_none() || *last < first;
                *last = names.last().map(|name| name.text.clone()).or(last.take());
            }
            is_ordered &= page.is_ordered();
            let first = page.names().next().map(|name| name.text.clone());
            if first.is_some_and(|first| !seen.insert(first)) {
                return Err(Failure::unusable_listing(
                    "the server ignores continuation tokens and repeats a page",
                ));
            }
            selected.add(&page);
            match page.next {
                _ if !page.more => return Ok((selected.into_listing(false), is_ordered)),
                Some(next) => page_request.token = Some(next),
                None => {
                    return Err(Failure::unusable_listing(
                        "the server cuts the listing off without a continuation token",
                    ));
                }
            }
        }
        Err(Failure::broken_response("the listing does not end"))
    }

    /// Requests one page as the server lists it.
    async fn list_page(&self, request: &PageRequest) -> Result<Page, Failure> {
        let response = self.request_page(request).await?;
        let base_path = &self.settings.base_path;
        let within = |full_key: &str| full_key.strip_prefix(base_path.as_str()).map(str::to_owned);
        let keys = response.contents().iter().filter_map(|object| {
            let modified_time = object.last_modified().and_then(time);
            Some(Name { text: within(object.key()?)?, modified_time })
        });
        let folders = response.common_prefixes().iter().filter_map(|prefix| {
            Some(Name { text: within(prefix.prefix()?)?, modified_time: None })
        });
        Ok(Page {
            keys: keys.collect(),
            folders: folders.collect(),
            more: response.is_truncated().unwrap_or(false),
            next: response.next_continuation_token.clone(),
        })
    }

    async fn request_page(&self, request: &PageRequest) -> Result<ListObjectsV2Output, Failure> {
        let page = || {
            self.client
                .list_objects_v2()
                .bucket(&self.settings.bucket)
                .set_expected_bucket_owner(self.owner())
                .prefix(self.full_key(&request.prefix))
                .set_start_after(request.start_after.as_deref().map(|start| self.full_key(start)))
                .set_delimiter(request.delimited.then(|| "/".to_owned()))
                .max_keys(i32::try_from(request.max_keys).unwrap_or(1000))
                .set_continuation_token(request.token.clone())
                .send()
        };
        self.bounded_read(RequestClass::List, page).await.map_err(Failure::of_bucket)
    }

    /// The keys and folders of one page as the server lists them, and the token of the next page. For the probe.
    pub(super) async fn raw_page(
        &self,
        request: &PageRequest,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        let page = self.list_page(request).await?;
        let names = page.names().map(|name| name.text.clone()).collect();
        Ok((names, page.next.filter(|_| page.more)))
    }
}

/// Whether a name should not be in a listing after the request's start. A delimited listing may repeat the folder of
/// its start.
fn is_before_start(request: &ListRequest, name: &Name) -> bool {
    request.start_after.as_deref().is_some_and(|start_after| {
        let is_folder_of_start = name.text.ends_with('/') && start_after.starts_with(&name.text);
        name.text.as_str() <= start_after && !is_folder_of_start
    })
}

/// The start of the listing. S3 servers differ in whether a delimited listing repeats a folder if the start is in
/// it or is its name; starting after all of its keys avoids this.
fn first_start(request: &ListRequest) -> Option<String> {
    let start_after = request.start_after.clone()?;
    let below = start_after.strip_prefix(&request.prefix).unwrap_or_default();
    match below.find('/') {
        Some(end) if request.delimited => {
            let folder = &start_after[..request.prefix.len() + end + 1];
            Some(format!("{folder}{AFTER_ALL_BELOW}"))
        }
        _ => Some(start_after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimited_listing_starts_after_the_folder() {
        let start = |prefix: &str, start_after: &str, delimited| {
            let start_after = Some(start_after.to_owned());
            first_start(&ListRequest {
                prefix: prefix.to_owned(),
                start_after,
                delimited,
                limit: 1,
            })
        };
        assert_eq!(start("", "a/b", false).as_deref(), Some("a/b"));
        assert_eq!(start("", "a/b/c", true).as_deref(), Some("a/\u{10ffff}"));
        assert_eq!(start("a/", "a/b/", true).as_deref(), Some("a/b/\u{10ffff}"));
        assert_eq!(start("a/", "a/b", true).as_deref(), Some("a/b"));
        assert_eq!(start("b/", "a/b", true).as_deref(), Some("a/b"));
    }
}
