//! Uploads in the store: the parts of the document and the records beside it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::{Serialize, de::DeserializeOwned};
use tara_export_catalog::{
    layout,
    records::{payload, read},
};
use tara_export_clock::Clock;
use tara_export_digest::{ContentHasher, Crc64Nvme, Sha256};
use tara_export_store::{
    ListRequest, ObjectKey, Part, PartStore, Payload, PutOutcome, Segments, Store, StoreError,
    StoreErrorKind, StoredPart, parts_of,
};
use tara_export_telemetry::names;
use tokio::task::JoinSet;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    CHECKPOINT_BYTES, FinishedUpload, IncomingBytes, PermitMemory, UploadError, UploadLocation,
    pieces::Resumed,
    progress::Progress,
    records::{Aborted, Checkpoint, ContentEntry, Finished, InvalidRecord, Piece, UploadRecord},
};
use crate::transfer::{PART_BYTES, PartReader, RetryBudget, Transfers, has_expected_content};

pub(super) const MEDIA_TYPE: &str = "application/octet-stream";

/// Uploads in a store that supports multipart uploads.
#[derive(Debug, Clone)]
pub(super) struct StoreUploads {
    pub store: Arc<dyn Store>,
    pub transfers: Transfers,
    pub clock: Arc<dyn Clock>,
    pub retry_budget: Duration,
    pub retention: Duration,
}

/// The result of receiving a stream.
pub(super) struct Received {
    pub hasher: ContentHasher,
    pub parts: Vec<StoredPart>,
    pub failure: Option<UploadError>,
}

impl StoreUploads {
    /// The record of an upload; `None` if it is aborted. A finished upload is found even if a later call with other
    /// bytes aborted it, because requests may already name it.
    pub(super) async fn find(&self, upload_id: Uuid) -> Result<Option<UploadRecord>, UploadError> {
        let aborted = layout::upload_aborted(upload_id);
        let (record, is_aborted) =
            futures::try_join!(self.record(upload_id), self.is_there(&aborted))?;
        match record {
            Some(record) if is_aborted && self.finished(&record).await?.is_none() => Ok(None),
            record => Ok(record),
        }
    }

    pub(super) async fn record(
        &self,
        upload_id: Uuid,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let key = layout::upload_record(upload_id);
        let record: Option<UploadRecord> = self.read(&key).await?;
        record
            .map(|record| record.of(upload_id).map_err(|error| self.damaged(&key, error)))
            .transpose()
    }

    /// Whether a record exists, even if it is damaged.
    async fn is_there(&self, key: &ObjectKey) -> Result<bool, UploadError> {
        match self.read::<Aborted>(key).await {
            Err(error) if error.is_damage() => Ok(true),
            read => Ok(read?.is_some()),
        }
    }

    /// The progress of an upload.
    ///
    /// # Errors
    /// The store's error, of kind [`StoreErrorKind::Corrupt`] if the upload is unusable because a record is damaged.
    pub(super) async fn progress(&self, record: &UploadRecord) -> Result<Progress, UploadError> {
        let upload_id = record.upload_id;
        let (finished, committed_size_bytes) =
            futures::try_join!(self.finished(record), self.committed(upload_id))?;
        if let Some(finished) = finished {
            return Ok(Progress::Finished(finished));
        }
        // Fails if the checkpoint is unusable, because the upload could not continue.
        self.checkpoint(record, committed_size_bytes).await?;
        Ok(Progress::Unfinished { committed_size_bytes })
    }

    pub(super) async fn finished(
        &self,
        record: &UploadRecord,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        let key = layout::upload_finished(record.upload_id);
        let Some(finished) = self.read::<Finished>(&key).await? else { return Ok(None) };
        let Finished { checksums, e_tag } =
            finished.of(record).map_err(|error| self.damaged(&key, error))?;
        Ok(Some(FinishedUpload { location: UploadLocation::Store { e_tag }, checksums }))
    }

    /// The offset of the furthest checkpoint, whose key sorts first.
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

    /// Receives the bytes from an offset. Returns the document if they finish it.
    pub(super) async fn receive(
        &self,
        record: &UploadRecord,
        incoming: IncomingBytes,
        memory: PermitMemory,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        let (finished, resumed) =
            futures::join!(self.finished(record), self.resumed_at(record, incoming.offset));
        // The response to the call that finished the upload was lost.
        if let Some(finished) = finished? {
            return Ok(Some(finished));
        }
        let starts_at_zero = incoming.offset == 0;
        let is_finished = incoming.is_finished.clone();
        let resumed = resumed?;
        let received = match Self::is_piece(record, &incoming) {
            true => {
                // Kept until the piece is stored.
                let _memory = memory;
                self.receive_piece(record, resumed, incoming).await
            }
            false => self.receive_parts(record, resumed, incoming, memory).await,
        };
        let Received { hasher, parts, failure } = match received {
            Ok(received) => received,
            // A part was not stored because another call ended the multipart upload.
            Err(UploadError::NotFound { .. }) => {
                return self.finished_by_other_call(record).await.map(Some);
            }
            Err(error) => return Err(error),
        };
        match failure {
            None => {}
            Some(UploadError::NotFound { .. }) => {
                return self.finished_by_other_call(record).await.map(Some);
            }
            Some(failure @ UploadError::ConflictingBytes { .. }) => {
                // This call may have replaced parts of the other one, so the upload cannot continue.
                self.abort(record, "two calls sent different bytes").await;
                return Err(failure);
            }
            Some(failure) => return Err(failure),
        }
        if !is_finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        let parts = starts_at_zero.then_some(parts);
        self.finish(record, hasher, parts).await.map(Some)
    }

    /// The result of another call that ended the multipart upload.
    async fn finished_by_other_call(
        &self,
        record: &UploadRecord,
    ) -> Result<FinishedUpload, UploadError> {
        let upload_id = record.upload_id;
        if let Some(finished) = self.finished(record).await? {
            return Ok(finished);
        }
        match self.find(upload_id).await? {
            Some(_) => {
                let reason = "another call is about to finish the same upload".to_owned();
                Err(UploadError::Interrupted { reason })
            }
            None => Err(UploadError::NotFound { upload_id }),
        }
    }

    /// The state at an offset.
    async fn resumed_at(&self, record: &UploadRecord, offset: u64) -> Result<Resumed, UploadError> {
        if let Some(resumed) = self.checkpoint(record, offset).await? {
            return Ok(resumed);
        }
        let committed_size_bytes = self.committed(record.upload_id).await?;
        Err(UploadError::WrongOffset { offset, committed_size_bytes })
    }

    /// The checkpoint at an offset, if any.
    async fn checkpoint(
        &self,
        record: &UploadRecord,
        offset: u64,
    ) -> Result<Option<Resumed>, UploadError> {
        if offset == 0 {
            let (hasher, pieces) = (ContentHasher::default(), Vec::new());
            return Ok(Some(Resumed { hasher, pieces }));
        }
        let key = layout::upload_checkpoint(record.upload_id, offset);
        let Some(checkpoint) = self.read::<Checkpoint>(&key).await? else { return Ok(None) };
        let resumed = checkpoint.restore_at(offset).and_then(|hasher| {
            let pieces = checkpoint.pieces_to(offset, record.size_bytes)?;
            Ok(Resumed { hasher, pieces })
        });
        resumed.map(Some).map_err(|error| self.damaged(&key, error))
    }

    /// Stores parts as they arrive, a few in parallel. Writes each checkpoint after the parts before it are stored, and
    /// a last one even if the stream is interrupted.
    async fn receive_parts(
        &self,
        record: &UploadRecord,
        resumed: Resumed,
        incoming: IncomingBytes,
        memory: PermitMemory,
    ) -> Result<Received, UploadError> {
        let Resumed { hasher, pieces } = resumed;
        let (offset, is_finished) = (incoming.offset, incoming.is_finished);
        let PermitMemory { mut first, further } = memory;
        // The memory of the first part is also that of the pieces that it begins with.
        let mut begun = Vec::new();
        if !pieces.is_empty() {
            if first.is_none() {
                first = Some(further.acquire().await.map_err(|_| shutting_down())?);
            }
            begun = self.read_pieces(record, &pieces).await?;
        }
        let mut reader = PartReader::new(incoming.pieces, hasher.clone(), further);
        reader.begin_with(begun);
        if let Some(memory) = first {
            reader.set_first_memory(memory);
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
        // Each future holds the memory of its part until the part is stored.
        let is_finished = &is_finished;
        let stored = read.map(|read| async move {
            let (number, part) = read?;
            let received_bytes = part.hasher.size_bytes();
            let size_bytes = record.size_bytes;
            if received_bytes > size_bytes {
                return Err(UploadError::WrongSize { size_bytes, received_bytes });
            }
            // The stream ended within a part. The part is sent again, unless the client announced the end.
            if part.content.size_bytes() < PART_BYTES && received_bytes < size_bytes {
                return match is_finished.load(Ordering::Acquire) {
                    true => Err(UploadError::WrongSize { size_bytes, received_bytes }),
                    false => Ok(None),
                };
            }
            let (content, crc64nvme) = (part.content.clone(), part.crc64nvme);
            let stored = self.store_part(record, number, content, crc64nvme).await?;
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
                        let hasher = &received.hasher;
                        self.write_checkpoint(&mut checkpoints, record, hasher, Vec::new());
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
            self.write_checkpoint(&mut checkpoints, record, &received.hasher, Vec::new());
        }
        if let Err(error) = Self::written(checkpoints).await {
            received.failure.get_or_insert(error);
        }
        Ok(received)
    }

    /// Waits until checkpoints are written. Returns the first failure.
    pub(super) async fn written(
        mut checkpoints: JoinSet<Result<(), UploadError>>,
    ) -> Result<(), UploadError> {
        let mut result = Ok(());
        while let Some(written) = checkpoints.join_next().await {
            let written = written.unwrap_or_else(|error| {
                let message = format!("writing a checkpoint was interrupted: {error}");
                Err(StoreError::new(StoreErrorKind::Unavailable, message).into())
            });
            result = result.and(written);
        }
        result
    }

    pub(super) async fn store_part(
        &self,
        record: &UploadRecord,
        number: u64,
        content: Segments,
        crc64nvme: Crc64Nvme,
    ) -> Result<StoredPart, UploadError> {
        let upload = record.part_upload(layout::upload_document(record.upload_id));
        let upload = upload.ok_or(UploadError::NotFound { upload_id: record.upload_id })?;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let budget = Arc::new(self.budget());
        let attempt = || async {
            let renewed = budget.clone();
            let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(move |_| renewed.renew());
            let content = content.clone();
            let part = Part { number, content, crc64nvme, progress: Some(progress) };
            self.parts()?.put_part(&upload, part).await
        };
        match budget.run(attempt, retrying(record.upload_id)).await {
            // Completed by another call, or aborted.
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                Err(UploadError::NotFound { upload_id: record.upload_id })
            }
            stored => Ok(stored?),
        }
    }

    pub(super) fn write_checkpoint(
        &self,
        checkpoints: &mut JoinSet<Result<(), UploadError>>,
        record: &UploadRecord,
        hasher: &ContentHasher,
        pieces: Vec<Piece>,
    ) {
        let (uploads, upload_id) = (self.clone(), record.upload_id);
        let (offset, checkpoint) =
            (hasher.size_bytes(), Checkpoint { hasher: hasher.save(), pieces });
        let write = async move {
            let key = layout::upload_checkpoint(upload_id, offset);
            if uploads.write(&key, &checkpoint).await? == PutOutcome::Created {
                return Ok(());
            }
            let existing: Option<Checkpoint> = uploads.read(&key).await?;
            match existing {
                // Calls with other chunk sizes have other pieces of the same bytes.
                Some(existing) if existing.hasher == checkpoint.hasher => Ok(()),
                _ => Err(UploadError::ConflictingBytes { offset }),
            }
        };
        checkpoints.spawn(write.in_current_span());
    }

    /// Verifies the announced size and digest, and completes the document from its parts.
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
            self.abort(record, "the document does not have the announced digest").await;
            return Err(UploadError::DigestMismatch { announced, received: checksums.sha256 });
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
                    // Completed with a lost response, or aborted. The object shows which.
                    Err(error) if error.kind() == StoreErrorKind::NotFound => {}
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                        self.abort(record, "the parts are not those that were verified").await;
                        return Err(UploadError::ConflictingBytes { offset: 0 });
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
        if !has_expected_content(self.parts()?, &found, &checksums, &budget).await? {
            self.abort(record, "the object is not the one that was verified").await;
            return Err(UploadError::ConflictingBytes { offset: 0 });
        }
        if let Some(sha256) = record.sha256 {
            let size_bytes = record.size_bytes;
            let key = layout::upload_of_content(sha256, size_bytes, record.created_time, upload_id);
            self.write(&key, &ContentEntry { upload_id }).await?;
        }
        let finished = Finished { checksums, e_tag: found.e_tag };
        self.write(&layout::upload_finished(upload_id), &finished).await?;
        let location = UploadLocation::Store { e_tag: finished.e_tag };
        Ok(FinishedUpload { location, checksums })
    }

    /// Aborts an upload permanently, unless it is finished.
    pub(super) async fn abort(&self, record: &UploadRecord, reason: &str) {
        let key = layout::upload_aborted(record.upload_id);
        if let Err(error) = self.write(&key, &Aborted { reason: reason.to_owned() }).await {
            tracing::warn!(upload_id = %record.upload_id, %error, "cannot abort an upload");
        }
        self.abort_parts(record).await;
    }

    /// Removes the parts. If that fails, a lifecycle rule removes them.
    pub(super) async fn abort_parts(&self, record: &UploadRecord) {
        let upload = record.part_upload(layout::upload_document(record.upload_id));
        let Some(upload) = upload else { return };
        let abort = || async { self.parts()?.abort(&upload).await };
        if let Err(error) = self.budget().run(abort, |_, _| {}).await {
            tracing::debug!(upload_id = %record.upload_id, %error, "leaving parts to the lifecycle rule");
        }
    }

    pub(super) fn budget(&self) -> RetryBudget {
        RetryBudget::new(self.retry_budget)
    }

    pub(super) fn parts(&self) -> Result<&dyn PartStore, StoreError> {
        parts_of(self.store.as_ref())
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<T>, UploadError> {
        Ok(self.budget().run(|| read(self.store.as_ref(), key), |_, _| {}).await?)
    }

    pub(super) fn damaged(&self, key: &ObjectKey, error: InvalidRecord) -> UploadError {
        let message = format!("{}: {error}", self.store.location(key.as_str()));
        StoreError::new(StoreErrorKind::Corrupt, message).into()
    }

    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        record: &impl Serialize,
    ) -> Result<PutOutcome, UploadError> {
        let payload = payload(record);
        let put = || self.store.put_if_absent(key, payload.clone());
        Ok(self.budget().run(put, |_, _| {}).await?)
    }
}

fn shutting_down() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the service is shutting down")
}

fn retrying(upload_id: Uuid) -> impl FnMut(u32, &StoreError) {
    move |attempt, error| {
        tracing::info!(%upload_id, attempt, %error, "retrying");
        names::RETRIES.add(1, [error.cause().as_str()]);
    }
}
