//! Listing keys.

use super::{
    super::{ListRequest, Listing, ObjectKey},
    S3Store,
    failure::Failure,
};

/// Follows every folder in an order by bytes that a key below it could have.
const AFTER_ALL_BELOW: char = char::MAX;

/// More names that can't be objects are not told of; one asks for few.
const PASSED_OVER_LIMIT: usize = 1_000;

/// More of such a name is not told; no name in S3 has more (Amazon S3 User Guide, "Naming objects").
const NAME_LIMIT_BYTES: usize = 1_024;

/// Pages without a single key or folder that are followed. Each may have 1,000 names that can't be
/// objects.
const EMPTY_PAGES_LIMIT: usize = 10_000;

impl S3Store {
    /// Lists keys below the base path. The `folder/` objects of the S3 console are left out.
    pub(super) async fn list_keys(&self, request: &ListRequest) -> Result<Listing, Failure> {
        let base_path = &self.settings.base_path;
        let mut continuation = None;
        let mut passed_over = Vec::new();
        for _ in 0..EMPTY_PAGES_LIMIT {
            let answer = self
                .client
                .list_objects_v2()
                .bucket(&self.settings.bucket)
                .set_expected_bucket_owner(self.owner())
                .prefix(self.full_key(&request.prefix))
                .set_start_after(
                    first_start(request).map(|start_after| self.full_key(&start_after)),
                )
                .set_delimiter(request.delimited.then(|| "/".to_owned()))
                .max_keys(i32::try_from(request.limit.clamp(1, 1000)).unwrap_or(1000))
                .set_continuation_token(continuation.clone())
                .send();
            let answer = self.bounded(answer).await.map_err(Failure::of_bucket)?;
            let mut wanted = |full_key: &str| -> Option<String> {
                let key = full_key.strip_prefix(base_path.as_str())?;
                if request.start_after.as_deref().is_some_and(|start_after| key <= start_after) {
                    return None;
                }
                if ObjectKey::new(key.strip_suffix('/').unwrap_or(key)).is_ok() {
                    return Some(key.to_owned());
                }
                // The prefix itself is a folder of the console, too.
                if key != request.prefix && passed_over.len() < PASSED_OVER_LIMIT {
                    let end = key.floor_char_boundary(NAME_LIMIT_BYTES);
                    passed_over.push(key[..end].to_owned());
                }
                None
            };
            let keys: Vec<String> = answer
                .contents()
                .iter()
                .filter_map(|object| wanted(object.key()?))
                .filter(|key| !key.ends_with('/'))
                .collect();
            let folders: Vec<String> = answer
                .common_prefixes()
                .iter()
                .filter_map(|prefix| wanted(prefix.prefix()?))
                .collect();
            let more = answer.is_truncated().unwrap_or(false);
            let next = answer.next_continuation_token;
            // A page may hold nothing but what is left out; who asks then knows no key to go on from.
            if keys.is_empty() && folders.is_empty() && more && next.is_some() {
                if next == continuation {
                    return Err(Failure::broken_answer("the listing's next page is the same page"));
                }
                continuation = next;
                continue;
            }
            return Ok(Listing { keys, folders, passed_over, more });
        }
        Err(Failure::broken_answer("the listing does not end"))
    }
}

/// Where the listing starts. S3 servers differ in whether a folder comes again when the start lies
/// in it or is its name; starting behind all of its keys leaves no question.
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
    fn a_delimited_listing_starts_behind_the_folder() {
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
