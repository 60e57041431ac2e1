//! Paging through keys: prefix, delimiter, and the limits of a page.

use std::{collections::BTreeMap, ops::Bound};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{S3Result, s3_error};

/// S3's maximum number of keys and common prefixes in one response.
pub(crate) const PAGE_LIMIT: usize = 1000;

/// The start of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    Start,
    /// After this key.
    AfterKey(String),
    /// After all keys with this common prefix.
    AfterPrefix(String),
}

impl Position {
    /// An opaque continuation token. Only this server interprets its bytes.
    pub(crate) fn token(&self) -> Option<String> {
        let (kind, text) = match self {
            Self::Start => return None,
            Self::AfterKey(key) => ('k', key),
            Self::AfterPrefix(prefix) => ('p', prefix),
        };
        Some(URL_SAFE_NO_PAD.encode(format!("{kind}{text}")))
    }

    /// # Errors
    /// InvalidArgument for a token that this server did not make.
    pub(crate) fn parse(token: &str) -> S3Result<Self> {
        let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|raw| String::from_utf8(raw).ok());
        match text.as_deref().map(|text| (text.chars().next(), text)) {
            Some((Some('k'), text)) => Ok(Self::AfterKey(text[1..].to_owned())),
            Some((Some('p'), text)) => Ok(Self::AfterPrefix(text[1..].to_owned())),
            _ => Err(s3_error!(InvalidArgument, "The continuation token provided is incorrect")),
        }
    }

    /// The position of a ListObjects marker: a key, or a common prefix that was returned.
    pub(crate) fn of_marker(marker: &str, prefix: &str, delimiter: Option<&str>) -> Self {
        match delimiter {
            Some(delimiter) if common_prefix(marker, prefix, delimiter) == Some(marker) => {
                Self::AfterPrefix(marker.to_owned())
            }
            _ => Self::AfterKey(marker.to_owned()),
        }
    }
}

/// One page of a listing, in the order of the keys' UTF-8 bytes.
#[derive(Debug)]
pub(crate) struct Page<'a, T> {
    pub(crate) entries: Vec<(&'a String, &'a T)>,
    pub(crate) common_prefixes: Vec<String>,
    /// The start of the next page; `None` on the last page.
    pub(crate) next: Option<Position>,
}

/// Reads one page. A common prefix counts like a key towards `limit`.
pub(crate) fn page<'a, T>(
    entries: &'a BTreeMap<String, T>,
    prefix: &str,
    delimiter: Option<&str>,
    position: &Position,
    limit: usize,
) -> Page<'a, T> {
    let mut page = Page { entries: Vec::new(), common_prefixes: Vec::new(), next: None };
    let (first, mut skipped) = match position {
        Position::Start => (Bound::Included(prefix), None),
        Position::AfterKey(key) if key.as_str() < prefix => (Bound::Included(prefix), None),
        Position::AfterKey(key) => (Bound::Excluded(key.as_str()), None),
        Position::AfterPrefix(done) => (Bound::Included(done.as_str()), Some(done.clone())),
    };
    let mut last = position.clone();
    for (key, value) in entries.range::<str, _>((first, Bound::Unbounded)) {
        if skipped.as_deref().is_some_and(|done| key.starts_with(done)) {
            continue;
        }
        if !key.starts_with(prefix) {
            // Keys with the prefix are adjacent; only an AfterPrefix can start before them.
            if key.as_str() < prefix {
                continue;
            }
            break;
        }
        if page.entries.len() + page.common_prefixes.len() == limit {
            page.next = Some(last);
            break;
        }
        match delimiter.and_then(|delimiter| common_prefix(key, prefix, delimiter)) {
            Some(common) => {
                page.common_prefixes.push(common.to_owned());
                skipped = Some(common.to_owned());
                last = Position::AfterPrefix(common.to_owned());
            }
            None => {
                page.entries.push((key, value));
                last = Position::AfterKey(key.clone());
            }
        }
    }
    // For max-keys=0, S3 returns an empty page that is not truncated.
    if limit == 0 {
        page.next = None;
    }
    page
}

fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(prefix)?;
    let end = prefix.len() + rest.find(delimiter)? + delimiter.len();
    Some(&key[..end])
}

/// Reads a limit like max-keys.
///
/// # Errors
/// InvalidArgument if negative.
pub(crate) fn limit(requested: Option<i32>) -> S3Result<usize> {
    let Some(requested) = requested else { return Ok(PAGE_LIMIT) };
    let requested = usize::try_from(requested)
        .map_err(|_| s3_error!(InvalidArgument, "maxKeys cannot be negative"))?;
    Ok(requested.min(PAGE_LIMIT))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn pages(keys: &[&str], prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let entries: BTreeMap<String, ()> =
            keys.iter().map(|key| ((*key).to_owned(), ())).collect();
        let mut position = Position::Start;
        let mut seen = Vec::new();
        loop {
            let page = page(&entries, prefix, delimiter, &position, limit);
            let mut items: Vec<String> =
                page.entries.iter().map(|(key, ())| (*key).clone()).collect();
            items.extend(page.common_prefixes);
            items.sort();
            assert!(items.len() <= limit);
            seen.extend(items);
            match page.next {
                // Only the token is passed from one page to the next.
                Some(next) => position = Position::parse(&next.token().unwrap()).unwrap(),
                None => return seen,
            }
        }
    }

    const KEYS: &[&str] =
        &["a", "b/1", "b/2", "b0", "c/x/1", "c/x/2", "c/y", "é/1", "\u{10000}", "\u{ff5e}"];

    #[test]
    fn every_page_size_gives_the_same_listing() {
        let expected = ["a", "b/", "b0", "c/", "é/", "\u{ff5e}", "\u{10000}"];
        for limit in 1..=KEYS.len() + 1 {
            assert_eq!(pages(KEYS, "", Some("/"), limit), expected, "limit {limit}");
        }
    }

    #[test]
    fn prefix_applies_before_the_delimiter() {
        for limit in 1..=4 {
            assert_eq!(pages(KEYS, "c/", Some("/"), limit), ["c/x/", "c/y"]);
            assert_eq!(pages(KEYS, "c/", None, limit), ["c/x/1", "c/x/2", "c/y"]);
            assert_eq!(pages(KEYS, "b", Some("/"), limit), ["b/", "b0"]);
        }
    }

    #[test]
    fn last_page_is_not_truncated() {
        let entries: BTreeMap<String, ()> = [("a/1".to_owned(), ()), ("a/2".to_owned(), ())].into();
        assert_eq!(page(&entries, "", Some("/"), &Position::Start, 1).next, None);
        assert_eq!(page(&entries, "", None, &Position::Start, 0).next, None);
        assert_eq!(
            page(&entries, "", None, &Position::Start, 1).next,
            Some(Position::AfterKey("a/1".to_owned()))
        );
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for token in ["", "!", "eHl6"] {
            assert!(Position::parse(token).is_err(), "{token}");
        }
    }
}
