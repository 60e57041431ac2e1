//! Copies inside S3. The bytes do not pass through this process, and the copy is verified.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export_failpoint::failpoint;
use tara_export_store::{
    ObjectChecksum, PartStore, PartUpload, PutOutcome, SourceObject, Store, StoreError,
    StoreErrorKind, StoredPart,
};

use super::{LargeContent, PART_BYTES, Transfers, bounded_budget::BoundedBudget, verify::verify};

impl Transfers {
    /// Copies a pinned object. Uses the part size of uploads, so that the copy gets the source's ETag on a store that
    /// computes no checksums of copies.
    pub(super) async fn copy(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        budget: &BoundedBudget,
        source: &SourceObject,
    ) -> Result<PutOutcome, StoreError> {
        if !self.copies_lack_checksum.load(Ordering::Relaxed) {
            let keeps = ObjectChecksum::Crc64Nvme;
            match self.copy_into(store, parts, content, budget, source, keeps).await {
                // MinIO rejects copied parts if a checksum was announced: "checksum missing".
                Err(error) if error.kind() == StoreErrorKind::Misconfigured => {
                    tracing::debug!(%error, "copying without checksums");
                }
                outcome => return outcome,
            }
        }
        let keeps = ObjectChecksum::None;
        let outcome = self.copy_into(store, parts, content, budget, source, keeps).await?;
        self.copies_lack_checksum.store(true, Ordering::Relaxed);
        Ok(outcome)
    }

    async fn copy_into(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        budget: &BoundedBudget,
        source: &SourceObject,
        keeps: ObjectChecksum,
    ) -> Result<PutOutcome, StoreError> {
        let upload = parts.begin(&content.key, &content.media_type, keeps).await?;
        let copied = async {
            let stored = self.copy_parts(parts, &upload, content, budget, source).await?;
            self.complete(parts, &upload, stored, content).await
        };
        let outcome = self.run_or_abort(parts, &upload, copied).await?;
        if outcome == PutOutcome::Created {
            verify(store, parts, content, Some(source)).await?;
        }
        Ok(outcome)
    }

    async fn copy_parts(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        content: &LargeContent,
        budget: &BoundedBudget,
        source: &SourceObject,
    ) -> Result<Vec<StoredPart>, StoreError> {
        let copied = AtomicU64::new(0);
        let copies = (1..).zip(ranges(content.expected.size_bytes)).map(|(number, range)| {
            let (copied, budget) = (&copied, budget.for_part());
            async move {
                let size_bytes = range.end - range.start;
                let attempt = || parts.copy_part(upload, number, source, range.clone());
                let failed = |attempt, error: &StoreError| (content.failed)(attempt, error);
                let stored = budget.run(attempt, failed).await?;
                budget.renew();
                (content.progress)(copied.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes);
                failpoint!("part.copied");
                Ok::<_, StoreError>(stored)
            }
        });
        // Copies use neither memory nor bandwidth of this machine.
        let parallel_copies = self.parallel_parts() * 2;
        stream::iter(copies).buffer_unordered(parallel_copies).try_collect().await
    }
}

fn ranges(size_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let starts = (0..size_bytes.div_ceil(PART_BYTES)).map(|index| index * PART_BYTES);
    starts.map(move |start| start..size_bytes.min(start + PART_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_content_once() {
        assert_eq!(ranges(0).count(), 0);
        assert!(ranges(1).eq(std::iter::once(0..1)));
        assert!(ranges(PART_BYTES).eq(std::iter::once(0..PART_BYTES)));
        let three: Vec<_> = ranges(2 * PART_BYTES + 1).collect();
        assert_eq!(
            three,
            [0..PART_BYTES, PART_BYTES..2 * PART_BYTES, 2 * PART_BYTES..2 * PART_BYTES + 1]
        );
    }
}
