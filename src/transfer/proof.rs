//! What proves that an object is what was sent or copied there.

use super::{LargeContent, RetryBudget, source::checksums_of};
use crate::{
    digest::ContentChecksums,
    store::{PartStore, SourceObject, Store, StoreError, StoreErrorKind},
};

/// Proves an object that was just made of parts: by the whole-object checksum that the store keeps of
/// it, by the ETag of what it is a copy of, or, where the store has neither, by reading it once.
///
/// # Errors
/// [`StoreErrorKind::Corrupt`] where it is not the content; it stays, and the folder is given up.
pub(super) async fn prove(
    store: &dyn Store,
    parts: &dyn PartStore,
    content: &LargeContent,
    copied_from: Option<&SourceObject>,
) -> Result<(), StoreError> {
    let location = parts.source_location(&content.key);
    let looked_up = content.budget.run(|| parts.look_up_source(&location), |_, _| {}).await?;
    let is_same = |source: &SourceObject| is_copy(&looked_up.e_tag, &source.e_tag);
    let has_checksum = looked_up.info.crc64nvme.is_some();
    let is_proved = match copied_from {
        Some(source) if !has_checksum && is_same(source) => {
            looked_up.info.size_bytes == content.expected.size_bytes
        }
        _ => is_content(parts, &looked_up, &content.expected, &content.budget).await?,
    };
    match is_proved {
        true => Ok(()),
        false => Err(StoreError::new(
            StoreErrorKind::Corrupt,
            format!("{} is not what was sent there", store.location(content.key.as_str())),
        )),
    }
}

/// Whether an object that was looked up is the content: by its size and the whole-object checksum that the
/// store keeps of it, or, where it keeps none, by reading it once.
///
/// # Errors
/// The store's, where it was to be read.
pub async fn is_content(
    parts: &dyn PartStore,
    found: &SourceObject,
    expected: &ContentChecksums,
    budget: &RetryBudget,
) -> Result<bool, StoreError> {
    match found.info.crc64nvme {
        _ if found.info.size_bytes != expected.size_bytes => Ok(false),
        Some(stored) => Ok(stored == expected.crc64nvme),
        None => {
            tracing::debug!(object = %found.location, "what the store proves by nothing is read once");
            let read = || async {
                checksums_of(parts.read_source(found).await?.body, || budget.renew()).await
            };
            match budget.run(read, |_, _| {}).await {
                Ok(checksums) => Ok(checksums == *expected),
                Err(error) if error.kind() == StoreErrorKind::Changed => Ok(false),
                Err(error) => Err(error),
            }
        }
    }
}

/// Whether two objects of one store that were put in the same parts have the same content, as far as
/// their ETags tell. The ETag of such an object is made of the MD5 digests of its parts (Amazon S3 API
/// Reference, "Object"), which the store computes as it takes or copies them; where it makes ETags
/// otherwise, they differ, and nothing is told. Equal ETags without the `-n` of parts may come of a copy
/// that took the ETag along.
pub fn is_copy(e_tag: &str, of: &str) -> bool {
    let plain = |e_tag: &str| e_tag.trim_matches('"').to_owned();
    plain(e_tag) == plain(of) && plain(of).contains('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_etags_of_parts_prove_a_copy() {
        assert!(is_copy("\"abc-2\"", "abc-2"));
        assert!(!is_copy("abc-2", "abc-3"));
        assert!(!is_copy("abc", "abc"));
    }
}
