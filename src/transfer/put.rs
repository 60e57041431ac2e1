//! Putting large content into a store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use super::{
    ContentSource, IN_PARTS_FROM_BYTES, PART_BYTES, PartReader, RetryBudget, Transfers,
    headway::Headway, proof::prove,
};
use crate::{
    digest::{ContentChecksums, ContentHasher, Crc64Nvme},
    limits::Pool,
    store::{
        ObjectKey, Part, PartStore, PartUpload, Payload, PutOutcome, Store, StoreError,
        StoreErrorKind, StoredPart, StreamedPayload, WholeChecksum,
    },
};

/// How long throwing parts away may take. What stays is noted, and aborted by the next start.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// Told how many bytes got through, and how many times an attempt failed.
pub(super) type Progress = Arc<dyn Fn(u64) + Send + Sync>;
pub(super) type Failed = Arc<dyn Fn(u32, &StoreError) + Send + Sync>;

/// Content on its way into a store.
#[derive(Clone)]
pub struct LargeContent {
    /// Where it goes.
    pub key: ObjectKey,
    /// What it must be.
    pub expected: ContentChecksums,
    /// Its media type.
    pub media_type: String,
    /// Where it comes from.
    pub source: ContentSource,
    /// The time it has for failures.
    pub budget: Arc<RetryBudget>,
    /// Told how many bytes of it have got through.
    pub progress: Progress,
    /// Told of each failed attempt that is repeated.
    pub failed: Failed,
}

impl Transfers {
    /// Puts content unless the key holds an object: in one request, in parts, as a copy inside the
    /// store or as a stream, whatever fits. Repeats what fails within the content's budget.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] where the source is gone or has other bytes than it should;
    /// otherwise the store's last failure.
    pub async fn put(
        &self,
        store: &dyn Store,
        content: &LargeContent,
    ) -> Result<PutOutcome, StoreError> {
        let in_one_request = match (&content.source, store.parts()) {
            (ContentSource::Memory(bytes), None) => Some(bytes.clone()),
            (ContentSource::Memory(bytes), Some(_))
                if (bytes.len() as u64) < IN_PARTS_FROM_BYTES =>
            {
                Some(bytes.clone())
            }
            // Parts make no empty object.
            _ if content.expected.size_bytes == 0 => Some(Bytes::new()),
            _ => None,
        };
        let headway = Headway::new(content.budget.clone());
        let attempt = || async {
            match (in_one_request.clone(), store.parts()) {
                (Some(bytes), _) => put_whole(store, content, &headway, bytes).await,
                (None, Some(parts)) => self.put_parts(store, parts, content, &headway).await,
                (None, None) => put_stream(store, content, &headway, self.files()).await,
            }
        };
        headway.run(attempt, |number, error| (content.failed)(number, error)).await
    }

    async fn put_parts(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        headway: &Headway,
    ) -> Result<PutOutcome, StoreError> {
        // Sending everything to hear at the end that it was there would be a waste.
        match store.head(&content.key).await {
            Ok(_) => return Ok(PutOutcome::Exists),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match &content.source {
            ContentSource::Object { source, .. } => {
                self.copy(store, parts, content, headway, source).await
            }
            _ => self.send(store, parts, content, headway).await,
        }
    }

    async fn send(
        &self,
        store: &dyn Store,
        parts: &dyn PartStore,
        content: &LargeContent,
        headway: &Headway,
    ) -> Result<PutOutcome, StoreError> {
        let keeps = WholeChecksum::Crc64Nvme;
        let upload = parts.begin(&content.key, &content.media_type, keeps).await?;
        let sent = async {
            let (stored, checksums) = self.send_parts(parts, &upload, content, headway).await?;
            if checksums != content.expected {
                let place = content.key.to_string();
                return Err(StoreError::other_bytes_came(&place).with_kind(StoreErrorKind::Changed));
            }
            self.complete(parts, &upload, stored, content).await
        };
        let outcome = self.seen_to_its_end(parts, &upload, sent).await?;
        if outcome == PutOutcome::Created {
            prove(store, parts, content, None).await?;
        }
        Ok(outcome)
    }

    /// Sends every part, a few side by side.
    async fn send_parts(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        content: &LargeContent,
        headway: &Headway,
    ) -> Result<(Vec<StoredPart>, ContentChecksums), StoreError> {
        if let ContentSource::Memory(bytes) = &content.source {
            let cut = bytes.chunks(PART_BYTES as usize).map(|piece| bytes.slice_ref(piece));
            let read: Vec<Bytes> = cut.collect();
            let sent = AtomicU64::new(0);
            let puts = (1..).zip(read).map(|(number, bytes)| {
                let crc64nvme = Crc64Nvme::of(&bytes);
                let part = Part { number, content: bytes.into(), crc64nvme, progress: None };
                send_part(parts, upload, content, headway.of_part(), &sent, part)
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
                // `read` is dropped behind this, and its memory with it: not before the part is stored.
                let part = read.to_part(number);
                send_part(parts, upload, content, headway.of_part(), sent, part).await
            }
        });
        let stored: Vec<StoredPart> =
            puts.try_buffer_unordered(self.parallel_parts()).try_collect().await?;
        let hasher = hasher.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok((stored, hasher.finish()))
    }

    /// Makes the object of its parts.
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

    /// Notes an upload, and throws its parts away where they became no object of ours.
    pub(super) async fn seen_to_its_end(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
        work: impl Future<Output = Result<PutOutcome, StoreError>>,
    ) -> Result<PutOutcome, StoreError> {
        if let Some(notes) = &self.notes {
            notes.add(upload).await;
        }
        failpoint!("parts.begun");
        let outcome = work.await;
        let is_over = match &outcome {
            Ok(PutOutcome::Created) => true,
            _ => matches!(timeout(ABORT_PATIENCE, parts.abort(upload)).await, Ok(Ok(()))),
        };
        if let (true, Some(notes)) = (is_over, &self.notes) {
            notes.remove(upload).await;
        }
        match outcome {
            // The answer to an earlier completion was lost, or somebody aborted it: whoever looks again
            // finds out which, and sends the parts anew where they are gone.
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                Err(error.with_kind(StoreErrorKind::Unavailable))
            }
            outcome => outcome,
        }
    }
}

async fn put_whole(
    store: &dyn Store,
    content: &LargeContent,
    headway: &Headway,
    bytes: Bytes,
) -> Result<PutOutcome, StoreError> {
    let (headway, progress) = (headway.clone(), content.progress.clone());
    let mut payload = Payload::new(bytes, content.expected.sha256, content.media_type.clone());
    payload.progress = Some(Arc::new(move |bytes_done| {
        headway.renew();
        progress(bytes_done);
    }));
    store.put_if_absent(&content.key, payload).await
}

async fn put_stream(
    store: &dyn Store,
    content: &LargeContent,
    headway: &Headway,
    files: &Pool,
) -> Result<PutOutcome, StoreError> {
    let (headway, progress) = (headway.clone(), content.progress.clone());
    let payload = StreamedPayload {
        expected: content.expected,
        media_type: content.media_type.clone(),
        body: content.source.open(files).await?,
        progress: Some(Arc::new(move |bytes_done| {
            headway.renew();
            progress(bytes_done);
        })),
    };
    match store.put_stream_if_absent(&content.key, payload).await {
        // Nobody but the source can have given other bytes.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            Err(error.with_kind(StoreErrorKind::Changed))
        }
        outcome => outcome,
    }
}

/// Sends one part, again where it fails. `sent` counts the bytes of all stored parts.
async fn send_part(
    parts: &dyn PartStore,
    upload: &PartUpload,
    content: &LargeContent,
    headway: Headway,
    sent: &AtomicU64,
    part: Part,
) -> Result<StoredPart, StoreError> {
    let size_bytes = part.content.size_bytes();
    let attempt = || {
        let moving = headway.clone();
        let progress: Progress = Arc::new(move |_| moving.renew());
        parts.put_part(upload, Part { progress: Some(progress), ..part.clone() })
    };
    let failed = |attempt, error: &StoreError| (content.failed)(attempt, error);
    let stored = headway.run(attempt, failed).await?;
    headway.renew();
    (content.progress)(sent.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes);
    failpoint!("part.put");
    Ok(stored)
}
