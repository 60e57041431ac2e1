//! Verifies that an object has the content that was sent or copied.

use tara_export_digest::ContentChecksums;
use tara_export_store::{PartStore, SourceObject, Store, StoreError, StoreErrorKind};

use super::{LargeContent, RetryBudget, source::checksums_of};

/// Verifies an object that was just completed from parts: by the store's whole-object checksum, by the ETag of the
/// copied object, or, if the store has neither, by reading it once.
///
/// # Errors
/// [`StoreErrorKind::Corrupt`] if the object has other content. The object is kept, and the folder is abandoned.
pub(super) async fn verify(
    store: &dyn Store,
    parts: &dyn PartStore,
    content: &LargeContent,
    copied_from: Option<&SourceObject>,
) -> Result<(), StoreError> {
    let location = parts.source_location(&content.key);
    let looked_up = content.budget.run(|| parts.look_up_source(&location), |_, _| {}).await?;
    let is_same = |source: &SourceObject| is_copy_by_etag(&looked_up.e_tag, &source.e_tag);
    let has_checksum = looked_up.info.crc64nvme.is_some();
    let is_verified = match copied_from {
        Some(source) if !has_checksum && is_same(source) => {
            looked_up.info.size_bytes == content.expected.size_bytes
        }
        _ => has_expected_content(parts, &looked_up, &content.expected, &content.budget).await?,
    };
    match is_verified {
        true => Ok(()),
        false => Err(StoreError::new(
            StoreErrorKind::Corrupt,
            format!("{} has other content than was sent", store.location(content.key.as_str())),
        )),
    }
}

/// Whether an object has the expected content: by its size and the store's whole-object checksum, or, if there is no
/// checksum, by reading it once.
///
/// # Errors
/// The store's error if the object has to be read.
pub async fn has_expected_content(
    parts: &dyn PartStore,
    found: &SourceObject,
    expected: &ContentChecksums,
    budget: &RetryBudget,
) -> Result<bool, StoreError> {
    match found.info.crc64nvme {
        _ if found.info.size_bytes != expected.size_bytes => Ok(false),
        Some(stored) => Ok(stored == expected.crc64nvme),
        None => {
            tracing::debug!(object = %found.location, "reading an object because the store has no checksum of it");
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

/// Whether ETags prove that two objects of one store, put in the same parts, have the same content. Such an
/// ETag is computed from the MD5 digests of the parts (Amazon S3 API Reference, "Object"), which the store computes
/// when it receives or copies them. If the store computes ETags in another way, they differ and prove nothing. Equal
/// ETags without the `-n` of parts prove nothing either, because the store may have copied the ETag.
pub fn is_copy_by_etag(e_tag: &str, of: &str) -> bool {
    let plain = |e_tag: &str| e_tag.trim_matches('"').to_owned();
    plain(e_tag) == plain(of) && plain(of).contains('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_multipart_etags_prove_a_copy() {
        assert!(is_copy_by_etag("\"abc-2\"", "abc-2"));
        assert!(!is_copy_by_etag("abc-2", "abc-3"));
        assert!(!is_copy_by_etag("abc", "abc"));
    }
}
