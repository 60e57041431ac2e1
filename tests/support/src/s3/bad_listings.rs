//! Listings of servers that break the rules of S3: another order, ignored positions, missing new objects.

use std::time::SystemTime;

use s3s::{
    S3Result,
    crypto::{Checksum, Sha256},
    s3_error,
};

use crate::bucket::{Bucket, StoredObject};

/// What a server's listings get wrong. [`Default`] is a server that lists as S3 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListingFaults {
    /// Lists the keys in an order of its own and continues in that order, as directory buckets do.
    pub unordered: bool,
    /// Ignores `start-after`.
    pub ignores_start_after: bool,
    /// Ignores `continuation-token`: each page is the first.
    pub ignores_tokens: bool,
    /// Does not list objects that were put at this time or later.
    pub hides_since: Option<SystemTime>,
}

impl ListingFaults {
    pub(crate) fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// A key with its object, or a common prefix.
pub(super) type Entry<'a> = (String, Option<&'a StoredObject>);

/// One page of a listing with faults, and the token of the next page.
pub(super) fn page<'a>(
    bucket: &'a Bucket,
    faults: ListingFaults,
    (prefix, delimiter): (&str, Option<&str>),
    (start_after, token): (Option<&str>, Option<&str>),
    limit: usize,
) -> S3Result<(Vec<Entry<'a>>, Option<String>)> {
    let is_hidden = |object: &StoredObject| {
        faults.hides_since.is_some_and(|since| object.modified_time >= since)
    };
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for (key, object) in &bucket.objects {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        if is_hidden(object) {
            continue;
        }
        match delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len())) {
            Some(end) => {
                let common = key[..prefix.len() + end].to_owned();
                if entries.last().is_none_or(|(last, _)| *last != common) {
                    entries.push((common, None));
                }
            }
            None => entries.push((key.clone(), Some(object))),
        }
    }
    let position = |key: &str| match faults.unordered {
        true => Sha256::checksum(key.as_bytes()).to_vec(),
        false => key.as_bytes().to_vec(),
    };
    entries.sort_by_key(|(key, _)| position(key));
    let token = token.filter(|_| !faults.ignores_tokens);
    let start = match (token, start_after) {
        (Some(token), _) => token
            .parse()
            .map_err(|_| s3_error!(InvalidArgument, "The continuation token is incorrect"))?,
        (None, Some(key)) if !faults.ignores_start_after => {
            let after = position(key);
            entries.iter().filter(|(key, _)| position(key) <= after).count()
        }
        _ => 0,
    };
    let count = entries.len();
    let page: Vec<Entry<'a>> = entries.into_iter().skip(start).take(limit).collect();
    let end = start + page.len();
    Ok((page, (end < count && limit > 0).then(|| end.to_string())))
}
