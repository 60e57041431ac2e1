//! Uploads in the store: parts of an object in the making, and records beside it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinSet;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    CHECKPOINT_BYTES, FinishedUpload, IncomingBytes, TurnMemory, UploadError, UploadPlace,
    records::{Aborted, Checkpoint, Finished, UploadRecord},
};
use crate::{
    catalog::{
        layout,
        records::{payload, read},
    },
    digest::{ContentHasher, Sha256},
    store::{
        ListRequest, ObjectKey, Part, PartStore, Payload, PutOutcome, Store, StoreError,
        StoreErrorKind, StoredPart, WholeChecksum,
    },
    telemetry::names,
    transfer::{PART_BYTES, PartReader, RetryBudget, Transfers, is_content},
};

const MEDIA_TYPE: &str = "application/octet-stream";

/// Uploads in a store that takes objects in parts.
#[derive(Debug, Clone)]
pub(super) struct StoreUploads {
    pub store: Arc<dyn Store>,
    pub transfers: Transfers,
    pub retry_budget: Duration,
}

/// What a stream brought.
struct Received {
    hasher: ContentHasher,
    parts: Vec<StoredPart>,
    failure: Option<UploadError>,
}

impl StoreUploads {
    /// Makes room, or finds the room that was made under this id before.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] where that was given up.
    pub(super) async fn create(
        &self,
        mut record: UploadRecord,
    ) -> Result<UploadRecord, UploadError> {
        let key = layout::upload_record(record.upload_id);
        let aborted = layout::upload_aborted(record.upload_id);
        let (earlier, aborted) =
            futures::try_join!(self.read(&key), self.read::<Aborted>(&aborted))?;
        if aborted.is_some() {
            return Err(UploadError::NotFound { upload_id: record.upload_id });
        }
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        let document = layout::upload_document(record.upload_id);
        if record.size_bytes > 0 {
            let budget = self.budget();
            let begin = || async {
                self.parts()?.begin(&document, MEDIA_TYPE, WholeChecksum::Crc64Nvme).await
            };
            let upload = budget.run(begin, |_, _| {}).await?;
            record.part_upload_id = Some(upload.upload_id);
        }
        match self.write(&key, &record).await {
            Ok(PutOutcome::Created) => Ok(record),
            // Somebody made it at the same time, or this is the answer's second try.
            Ok(PutOutcome::Exists) => {
                let earlier: UploadRecord = self
                    .read(&key)
                    .await?
                    .ok_or(UploadError::NotFound { upload_id: record.upload_id })?;
                if earlier.part_upload_id != record.part_upload_id {
                    self.abort(&record).await;
                }
                Ok(earlier)
            }
            Err(error) => {
                self.abort(&record).await;
                Err(error)
            }
        }
    }

    /// What is known of an upload; none of one that was given up.
    pub(super) async fn find(&self, upload_id: Uuid) -> Result<Option<UploadRecord>, UploadError> {
        let (record, aborted) =
            (layout::upload_record(upload_id), layout::upload_aborted(upload_id));
        let (record, aborted) =
            futures::try_join!(self.read(&record), self.read::<Aborted>(&aborted))?;
        Ok(record.filter(|_| aborted.is_none()))
    }

    /// The document, if it is there, and how much of it is.
    pub(super) async fn progress(
        &self,
        record: &UploadRecord,
    ) -> Result<(Option<FinishedUpload>, u64), UploadError> {
        let (finished, committed) =
            futures::try_join!(self.finished(record.upload_id), self.committed(record.upload_id))?;
        let committed = if finished.is_some() { record.size_bytes } else { committed };
        Ok((finished, committed))
    }

    async fn finished(&self, upload_id: Uuid) -> Result<Option<FinishedUpload>, UploadError> {
        let finished: Option<Finished> = self.read(&layout::upload_finished(upload_id)).await?;
        Ok(finished.map(|Finished { checksums, e_tag }| FinishedUpload {
            place: UploadPlace::Store { e_tag },
            checksums,
        }))
    }

    /// The furthest checkpoint. Their names ascend from there.
    async fn committed(&self, upload_id: Uuid) -> Result<u64, UploadError> {
        let request = ListRequest {
            prefix: layout::upload_checkpoints(upload_id),
            start_after: None,
            delimited: false,
            limit: 1,
        };
        let listing = self.budget().run(|| self.store.list(request.clone()), |_, _| {}).await?;
        let furthest = listing.keys.first();
        Ok(furthest.and_then(|key| layout::parse_upload_checkpoint(key, upload_id)).unwrap_or(0))
    }

    /// Takes what follows an offset; the document, if it ends with that.
    pub(super) async fn receive(
        &self,
        record: &UploadRecord,
        incoming: IncomingBytes,
        memory: TurnMemory,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        let upload_id = record.upload_id;
        let (finished, hasher) =
            futures::join!(self.finished(upload_id), self.hasher_at(upload_id, incoming.offset));
        // The answer to the call that finished it was lost.
        if let Some(finished) = finished? {
            return Ok(Some(finished));
        }
        let begins_anew = incoming.offset == 0;
        let is_finished = incoming.is_finished.clone();
        let Received { hasher, parts, failure } =
            self.receive_parts(record, hasher?, incoming, memory).await?;
        match failure {
            None => {}
            Some(UploadError::NotFound { .. }) => return self.overtaken(upload_id).await.map(Some),
            Some(failure) => return Err(failure),
        }
        if !is_finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        let parts = begins_anew.then_some(parts);
        self.finish(record, hasher, parts).await.map(Some)
    }

    /// What another call made of the parts that this one could not store any more.
    async fn overtaken(&self, upload_id: Uuid) -> Result<FinishedUpload, UploadError> {
        if let Some(finished) = self.finished(upload_id).await? {
            return Ok(finished);
        }
        match self.find(upload_id).await? {
            Some(_) => {
                let reason = "another call is about to finish the same upload".to_owned();
                Err(UploadError::BrokeOff { reason })
            }
            None => Err(UploadError::NotFound { upload_id }),
        }
    }

    /// The hasher behind the bytes before an offset.
    async fn hasher_at(&self, upload_id: Uuid, offset: u64) -> Result<ContentHasher, UploadError> {
        if offset == 0 {
            return Ok(ContentHasher::default());
        }
        let key = layout::upload_checkpoint(upload_id, offset);
        let checkpoint: Option<Checkpoint> = self.read(&key).await?;
        match checkpoint.map(|checkpoint| checkpoint.hasher.restore()) {
            Some(Ok(hasher)) if hasher.size_bytes() == offset => Ok(hasher),
            _ => {
                let committed_size_bytes = self.committed(upload_id).await?;
                Err(UploadError::WrongOffset { offset, committed_size_bytes })
            }
        }
    }

    /// Stores parts as they come, a few side by side. Each checkpoint is written behind parts that are
    /// stored, the last one also where the stream breaks off.
    async fn receive_parts(
        &self,
        record: &UploadRecord,
        hasher: ContentHasher,
        incoming: IncomingBytes,
        memory: TurnMemory,
    ) -> Result<Received, UploadError> {
        let (offset, is_finished) = (incoming.offset, incoming.is_finished);
        let mut reader = PartReader::new(incoming.pieces, hasher.clone(), memory.further);
        if let Some(memory) = memory.first {
            reader.give_memory(memory);
        }
        let numbers = offset / PART_BYTES + 1;
        let read = stream::unfold(Some((reader, numbers)), |state| async move {
            let (mut reader, number) = state?;
            match reader.next().await {
                Ok(Some(part)) => Some((Ok((number, part)), Some((reader, number + 1)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        // Each of the futures holds its part's memory until the part is stored.
        let is_finished = &is_finished;
        let stored = read.map(|read| async move {
            let (number, part) = read?;
            let received_bytes = part.hasher.size_bytes();
            let size_bytes = record.size_bytes;
            if received_bytes > size_bytes {
                return Err(UploadError::WrongSize { size_bytes, received_bytes });
            }
            // The stream ended within a part: that one is sent again, unless it was to be the last.
            if part.content.size_bytes() < PART_BYTES && received_bytes < size_bytes {
                return match is_finished.load(Ordering::Acquire) {
                    true => Err(UploadError::WrongSize { size_bytes, received_bytes }),
                    false => Ok(None),
                };
            }
            let stored = self.store_part(record, number, &part).await?;
            Ok(Some((stored, part.hasher)))
        });
        let mut stored = std::pin::pin!(stored.buffered(self.transfers.parallel_parts()));
        let mut received = Received { hasher, parts: Vec::new(), failure: None };
        let mut checkpoint_bytes = offset;
        let mut checkpoints = JoinSet::new();
        while let Some(part) = stored.next().await {
            match part {
                Ok(Some((part, hasher))) => {
                    received.parts.push(part);
                    received.hasher = hasher;
                    if received.hasher.size_bytes() - checkpoint_bytes >= CHECKPOINT_BYTES {
                        checkpoint_bytes = received.hasher.size_bytes();
                        self.write_checkpoint(&mut checkpoints, record, &received.hasher);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    received.failure = Some(error);
                    break;
                }
            }
        }
        if received.hasher.size_bytes() > checkpoint_bytes {
            self.write_checkpoint(&mut checkpoints, record, &received.hasher);
        }
        while let Some(written) = checkpoints.join_next().await {
            let written = written.unwrap_or_else(|error| {
                let message = format!("a checkpoint broke off: {error}");
                Err(StoreError::new(StoreErrorKind::Unavailable, message).into())
            });
            if let Err(error) = written {
                received.failure.get_or_insert(error);
            }
        }
        Ok(received)
    }

    async fn store_part(
        &self,
        record: &UploadRecord,
        number: u64,
        part: &crate::transfer::ReadPart,
    ) -> Result<StoredPart, UploadError> {
        let upload = record.part_upload(layout::upload_document(record.upload_id));
        let upload = upload.ok_or(UploadError::NotFound { upload_id: record.upload_id })?;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let budget = Arc::new(self.budget());
        let attempt = || async {
            let moving = budget.clone();
            let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(move |_| moving.renew());
            let part = Part { progress: Some(progress), ..part.to_part(number) };
            self.parts()?.put_part(&upload, part).await
        };
        match budget.run(attempt, retrying(record.upload_id)).await {
            // Completed by another call, or given up.
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                Err(UploadError::NotFound { upload_id: record.upload_id })
            }
            stored => Ok(stored?),
        }
    }

    fn write_checkpoint(
        &self,
        checkpoints: &mut JoinSet<Result<(), UploadError>>,
        record: &UploadRecord,
        hasher: &ContentHasher,
    ) {
        let (uploads, upload_id) = (self.clone(), record.upload_id);
        let (offset, checkpoint) = (hasher.size_bytes(), Checkpoint { hasher: hasher.save() });
        let write = async move {
            let key = layout::upload_checkpoint(upload_id, offset);
            if uploads.write(&key, &checkpoint).await? == PutOutcome::Created {
                return Ok(());
            }
            let earlier: Option<Checkpoint> = uploads.read(&key).await?;
            match earlier {
                Some(earlier) if earlier == checkpoint => Ok(()),
                _ => Err(UploadError::OtherBytes { offset }),
            }
        };
        checkpoints.spawn(write.in_current_span());
    }

    /// Makes the document of its parts, once it is the one that was announced.
    async fn finish(
        &self,
        record: &UploadRecord,
        hasher: ContentHasher,
        parts: Option<Vec<StoredPart>>,
    ) -> Result<FinishedUpload, UploadError> {
        let upload_id = record.upload_id;
        let checksums = hasher.finish();
        if checksums.size_bytes != record.size_bytes {
            let (size_bytes, received_bytes) = (record.size_bytes, checksums.size_bytes);
            return Err(UploadError::WrongSize { size_bytes, received_bytes });
        }
        if let Some(announced) = record.sha256.filter(|announced| *announced != checksums.sha256) {
            self.give_up(record, "the document is not the one that was announced").await;
            return Err(UploadError::OtherDigest { announced, received: checksums.sha256 });
        }
        let key = layout::upload_document(upload_id);
        let budget = self.budget();
        match record.part_upload(key.clone()) {
            None => {
                let empty = Payload::new(Bytes::new(), Sha256::of(b""), MEDIA_TYPE);
                budget.run(|| self.store.put_if_absent(&key, empty.clone()), |_, _| {}).await?;
            }
            Some(upload) => {
                let parts = match parts {
                    Some(parts) => Ok(parts),
                    None => {
                        budget
                            .run(|| async { self.parts()?.stored_parts(&upload).await }, |_, _| {})
                            .await
                    }
                };
                let completed = match parts {
                    Ok(parts) => {
                        let complete = || async {
                            self.parts()?.complete_if_absent(&upload, &parts, &checksums).await
                        };
                        budget.run(complete, retrying(upload_id)).await
                    }
                    Err(error) => Err(error),
                };
                match completed {
                    Ok(_) => {}
                    // Completed by a call whose answer was lost, or given up: the object tells.
                    Err(error) if error.kind() == StoreErrorKind::NotFound => {}
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                        self.give_up(record, "its parts are not those that were checked").await;
                        return Err(UploadError::OtherBytes { offset: 0 });
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let look_up = || async {
            let parts = self.parts()?;
            parts.look_up_source(&parts.source_location(&key)).await
        };
        let found = match budget.run(look_up, |_, _| {}).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                return Err(UploadError::NotFound { upload_id });
            }
            found => found?,
        };
        if !is_content(self.parts()?, &found, &checksums, &budget).await? {
            self.give_up(record, "its object is not the one that was checked").await;
            return Err(UploadError::OtherBytes { offset: 0 });
        }
        let finished = Finished { checksums, e_tag: found.e_tag };
        self.write(&layout::upload_finished(upload_id), &finished).await?;
        let place = UploadPlace::Store { e_tag: finished.e_tag };
        Ok(FinishedUpload { place, checksums })
    }

    /// Gives an upload up for good, so that the next one of its content begins anew.
    pub(super) async fn give_up(&self, record: &UploadRecord, reason: &str) {
        let key = layout::upload_aborted(record.upload_id);
        if let Err(error) = self.write(&key, &Aborted { reason: reason.to_owned() }).await {
            tracing::warn!(upload_id = %record.upload_id, %error, "an upload can't be given up");
        }
        self.abort(record).await;
    }

    /// Throws the parts away. What stays, a lifecycle rule removes.
    async fn abort(&self, record: &UploadRecord) {
        let upload = record.part_upload(layout::upload_document(record.upload_id));
        let Some(upload) = upload else { return };
        let abort = || async { self.parts()?.abort(&upload).await };
        if let Err(error) = self.budget().run(abort, |_, _| {}).await {
            tracing::debug!(upload_id = %record.upload_id, %error, "parts stay to their lifecycle rule");
        }
    }

    pub(super) fn budget(&self) -> RetryBudget {
        RetryBudget::new(self.retry_budget)
    }

    fn parts(&self) -> Result<&dyn PartStore, StoreError> {
        self.store.parts().ok_or_else(|| {
            let message = format!("{} takes no objects in parts", self.store.location(""));
            StoreError::new(StoreErrorKind::Misconfigured, message)
        })
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<T>, UploadError> {
        Ok(self.budget().run(|| read(self.store.as_ref(), key), |_, _| {}).await?)
    }

    async fn write(
        &self,
        key: &ObjectKey,
        record: &impl Serialize,
    ) -> Result<PutOutcome, UploadError> {
        let payload = payload(record);
        let put = || self.store.put_if_absent(key, payload.clone());
        Ok(self.budget().run(put, |_, _| {}).await?)
    }
}

fn retrying(upload_id: Uuid) -> impl FnMut(u32, &StoreError) {
    move |attempt, error| {
        tracing::info!(%upload_id, attempt, %error, "retrying");
        names::RETRIES.add(1, [error.cause().as_str()]);
    }
}
