//! Copies inside S3: no byte passes through this process, and the copy is proved all the same.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{LargeContent, PART_BYTES, Transfers, headway::Headway, proof::prove};
use crate::store::{
    PartStore, PartUpload, PutOutcome, SourceObject, Store, StoreError, StoreErrorKind, StoredPart,
    WholeChecksum,
};

impl Transfers {
    /// Copies a pinned object. The parts are those it was uploaded in, so that a store that keeps no
    /// checksum of copies gives the copy the source's ETag.
    pub(super) async fn copy(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        headway: &Headway,
        source: &SourceObject,
    ) -> Result<PutOutcome, StoreError> {
        if !self.copies_keep_no_checksum.load(Ordering::Relaxed) {
            let keeps = WholeChecksum::Crc64Nvme;
            match self.copy_into(store, parts, content, headway, source, keeps).await {
                // MinIO takes no copied part where a checksum was announced: "checksum missing".
                Err(error) if error.kind() == StoreErrorKind::Misconfigured => {
                    tracing::debug!(%error, "copies are made without a checksum of their own");
                }
                outcome => return outcome,
            }
        }
        let keeps = WholeChecksum::None;
        let outcome = self.copy_into(store, parts, content, headway, source, keeps).await?;
        self.copies_keep_no_checksum.store(true, Ordering::Relaxed);
        Ok(outcome)
    }

    async fn copy_into(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        headway: &Headway,
        source: &SourceObject,
        keeps: WholeChecksum,
    ) -> Result<PutOutcome, StoreError> {
        let upload = parts.begin(&content.key, &content.media_type, keeps).await?;
        let copied = async {
            let stored = self.copy_parts(parts, &upload, content, headway, source).await?;
            self.complete(parts, &upload, stored, content).await
        };
        let outcome = self.seen_to_its_end(parts, &upload, copied).await?;
        if outcome == PutOutcome::Created {
            prove(store, parts, content, Some(source)).await?;
        }
        Ok(outcome)
    }

    async fn copy_parts(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        content: &LargeContent,
        headway: &Headway,
        source: &SourceObject,
    ) -> Result<Vec<StoredPart>, StoreError> {
        let copied = AtomicU64::new(0);
        let copies = (1..).zip(ranges(content.expected.size_bytes)).map(|(number, range)| {
            let (copied, headway) = (&copied, headway.of_part());
            async move {
                let size_bytes = range.end - range.start;
                let attempt = || parts.copy_part(upload, number, source, range.clone());
                let failed = |attempt, error: &StoreError| (content.failed)(attempt, error);
                let stored = headway.run(attempt, failed).await?;
                headway.renew();
                (content.progress)(copied.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes);
                failpoint!("part.copied");
                Ok::<_, StoreError>(stored)
            }
        });
        // The copies take neither memory nor bandwidth of this machine.
        let side_by_side = self.parallel_parts() * 2;
        stream::iter(copies).buffer_unordered(side_by_side).try_collect().await
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
    fn ranges_cover_everything_once() {
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
