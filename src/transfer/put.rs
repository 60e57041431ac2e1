//! Puts large content into a store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export_digest::{ContentChecksums, ContentHasher, Crc64Nvme};
use tara_export_failpoint::failpoint;
use tara_export_limits::Pool;
use tara_export_store::{
    ObjectChecksum, ObjectKey, Part, PartStore, PartUpload, Payload, PutOutcome, Store, StoreError,
    StoreErrorKind, StoredPart, StreamedPayload,
};
use tokio::time::timeout;

use super::{
    ContentSource, MULTIPART_THRESHOLD_BYTES, PART_BYTES, PartReader, RetryBudget, Transfers,
    bounded_budget::BoundedBudget, verify::verify,
};

/// Timeout for aborting parts. If it expires, the record is kept, and a later retention pass aborts them.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Receives the number of transferred bytes.
pub(super) type Progress = Arc<dyn Fn(u64) + Send + Sync>;
/// Receives the number of a failed attempt and its error.
pub(super) type Failed = Arc<dyn Fn(u32, &StoreError) + Send + Sync>;

/// Content to put into a store.
#[derive(Clone)]
pub struct LargeContent {
    /// The key of the new object.
    pub key: ObjectKey,
    /// The size and checksums of the content.
    pub expected: ContentChecksums,
    /// The media type.
    pub media_type: String,
    /// The source of the bytes.
    pub source: ContentSource,
    /// The budget for retries.
    pub budget: Arc<RetryBudget>,
    /// Called with the number of transferred bytes.
    pub progress: Progress,
    /// Called for each failed attempt that is retried.
    pub failed: Failed,
}

impl Transfers {
    /// Puts content unless the key has an object: in one request, in parts, as a copy inside the store or as a stream.
    /// Retries within the content's budget.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] if the source is gone or has other bytes than expected; otherwise the store's last
    /// error.
    pub async fn put(
        &self,
        store: &dyn Store,
        content: &LargeContent,
    ) -> Result<PutOutcome, StoreError> {
        let in_one_request = match (&content.source, store.parts()) {
            (ContentSource::Memory(bytes), None) => Some(bytes.clone()),
            (ContentSource::Memory(bytes), Some(_))
                if (bytes.len() as u64) < MULTIPART_THRESHOLD_BYTES =>
            {
                Some(bytes.clone())
            }
            // A multipart upload cannot create an empty object.
            _ if content.expected.size_bytes == 0 => Some(Bytes::new()),
            _ => None,
        };
        let budget = BoundedBudget::new(content.budget.clone());
        let attempt = || async {
            match (in_one_request.clone(), store.parts()) {
                (Some(bytes), _) => put_in_one_request(store, content, &budget, bytes).await,
                (None, Some(parts)) => self.put_parts(store, parts, content, &budget).await,
                (None, None) => put_stream(store, content, &budget, self.files()).await,
            }
        };
        budget.run(attempt, |number, error| (content.failed)(number, error)).await
    }

    async fn put_parts(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        budget: &BoundedBudget,
    ) -> Result<PutOutcome, StoreError> {
        // Check first, to avoid sending the content if the object exists.
        match store.head(&content.key).await {
            Ok(_) => return Ok(PutOutcome::Exists),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match &content.source {
            ContentSource::Object { source, .. } => {
                self.copy(store, parts, content, budget, source).await
            }
            _ => self.send(store, parts, content, budget).await,
        }
    }

    async fn send(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        budget: &BoundedBudget,
    ) -> Result<PutOutcome, StoreError> {
        let keeps = ObjectChecksum::Crc64Nvme;
        let upload = parts.begin(&content.key, &content.media_type, keeps).await?;
        let sent = async {
            let (stored, checksums) = self.send_parts(parts, &upload, content, budget).await?;
            if checksums != content.expected {
                let key = content.key.to_string();
                return Err(StoreError::digest_mismatch(&key).with_kind(StoreErrorKind::Changed));
            }
            self.complete(parts, &upload, stored, content).await
        };
        let outcome = self.run_or_abort(parts, &upload, sent).await?;
        if outcome == PutOutcome::Created {
            verify(store, parts, content, None).await?;
        }
        Ok(outcome)
    }

    /// Sends all parts, a few in parallel.
    async fn send_parts(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        content: &LargeContent,
        budget: &BoundedBudget,
    ) -> Result<(Vec<StoredPart>, ContentChecksums), StoreError> {
        if let ContentSource::Memory(bytes) = &content.source {
            let cut = bytes.chunks(PART_BYTES as usize).map(|piece| bytes.slice_ref(piece));
            let read: Vec<Bytes> = cut.collect();
            let sent = AtomicU64::new(0);
            let puts = (1..).zip(read).map(|(number, bytes)| {
                let crc64nvme = Crc64Nvme::of(&bytes);
                let part = Part { number, content: bytes.into(), crc64nvme, progress: None };
                send_part(parts, upload, content, budget.for_part(), &sent, part)
            });
            let puts = stream::iter(puts).buffer_unordered(self.parallel_parts());
            let stored = puts.try_collect().await?;
            return Ok((stored, content.expected));
        }
        let memory = self.part_memory().clone();
        let reader = PartReader::new(
            content.source.open(self.files()).await?,
            ContentHasher::default(),
            memory,
        );
        let sent = AtomicU64::new(0);
        let hasher = std::sync::Mutex::new(ContentHasher::default());
        let read = stream::try_unfold((reader, 1), |(mut reader, number)| async move {
            let part = reader.next().await?;
            Ok::<_, StoreError>(part.map(|part| ((number, part), (reader, number + 1))))
        });
        let puts = read.map_ok(|(number, read)| {
            *hasher.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = read.hasher.clone();
            let sent = &sent;
            async move {
                // `read` holds the memory until the part is stored.
                let part = read.to_part(number);
                send_part(parts, upload, content, budget.for_part(), sent, part).await
            }
        });
        let stored: Vec<StoredPart> =
            puts.try_buffer_unordered(self.parallel_parts()).try_collect().await?;
        let hasher = hasher.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok((stored, hasher.finish()))
    }

    /// Completes the object from its parts.
    pub(super) async fn complete(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        mut stored: Vec<StoredPart>,
        content: &LargeContent,
    ) -> Result<PutOutcome, StoreError> {
        stored.sort_by_key(|part| part.number);
        failpoint!("parts.to_complete");
        let attempt = || parts.complete_if_absent(upload, &stored, &content.expected);
        content.budget.run(attempt, |number, error| (content.failed)(number, error)).await
    }

    /// Records an upload while `work` runs, and aborts its parts unless it creates the object.
    pub(super) async fn run_or_abort(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        work: impl Future<Output = Result<PutOutcome, StoreError>>,
    ) -> Result<PutOutcome, StoreError> {
        let _active = match &self.part_upload_records {
            Some(records) => Some(records.add(upload).await),
            None => None,
        };
        failpoint!("parts.begun");
        let outcome = work.await;
        let has_ended = match &outcome {
            Ok(PutOutcome::Created) => true,
            _ => matches!(timeout(ABORT_TIMEOUT, parts.abort(upload)).await, Ok(Ok(()))),
        };
        if let (true, Some(records)) = (has_ended, &self.part_upload_records) {
            records.remove(upload).await;
        }
        match outcome {
            // The response to a previous completion was lost, or another process aborted the upload. The next attempt
            // finds the object or sends the parts again.
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                Err(error.with_kind(StoreErrorKind::Unavailable))
            }
            outcome => outcome,
        }
    }
}

async fn put_in_one_request(
    store: &dyn Store,
    content: &LargeContent,
    budget: &BoundedBudget,
    bytes: Bytes,
) -> Result<PutOutcome, StoreError> {
    let (budget, progress) = (budget.clone(), content.progress.clone());
    let mut payload = Payload::new(bytes, content.expected.sha256, content.media_type.clone());
    payload.progress = Some(Arc::new(move |bytes_done| {
        budget.renew();
        progress(bytes_done);
    }));
    store.put_if_absent(&content.key, payload).await
}

async fn put_stream(
    store: &dyn Store,
    content: &LargeContent,
    budget: &BoundedBudget,
    files: &Pool,
) -> Result<PutOutcome, StoreError> {
    let (budget, progress) = (budget.clone(), content.progress.clone());
    let payload = StreamedPayload {
        expected: content.expected,
        media_type: content.media_type.clone(),
        body: content.source.open(files).await?,
        progress: Some(Arc::new(move |bytes_done| {
            budget.renew();
            progress(bytes_done);
        })),
    };
    match store.put_stream_if_absent(&content.key, payload).await {
        // Only the source can have returned other bytes.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            Err(error.with_kind(StoreErrorKind::Changed))
        }
        outcome => outcome,
    }
}

/// Sends one part and retries errors. `sent` counts the bytes of all stored parts.
async fn send_part(
    parts: &dyn PartStore,
    upload: &PartUpload,
    content: &LargeContent,
    budget: BoundedBudget,
    sent: &AtomicU64,
    part: Part,
) -> Result<StoredPart, StoreError> {
    let size_bytes = part.content.size_bytes();
    let attempt = || {
        let renewed = budget.clone();
        let progress: Progress = Arc::new(move |_| renewed.renew());
        parts.put_part(upload, Part { progress: Some(progress), ..part.clone() })
    };
    let failed = |attempt, error: &StoreError| (content.failed)(attempt, error);
    let stored = budget.run(attempt, failed).await?;
    budget.renew();
    (content.progress)(sent.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes);
    failpoint!("part.put");
    Ok(stored)
}
