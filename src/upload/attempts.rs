//! Finds or creates the upload in the store for a request.
//!
//! The attempts of a request are numbered, and each number is used once: of two concurrent calls, one creates the
//! upload and the other one finds it. An aborted, expired or damaged attempt is followed by the next number, without a
//! limit.

use tara_export_catalog::layout;
use tara_export_digest::Sha256;
use tara_export_store::{ListRequest, ObjectChecksum, PutOutcome, StoreError};
use uuid::Uuid;

use super::{
    UploadError,
    damaged::skip_damaged,
    records::{Attempt, InvalidRecord, UploadRecord},
    store::StoreUploads,
};

/// Maximum number of finished uploads of one content to check. They are usable unless their records are damaged or
/// missing.
const MAX_CANDIDATES: usize = 8;

/// The attempts of a request.
struct Attempts {
    /// The upload of the last attempt, if it is usable.
    usable: Option<UploadRecord>,
    /// The number of the next attempt.
    next: u64,
}

impl StoreUploads {
    /// Finds finished content or the existing upload of this request, or creates an upload.
    pub(super) async fn find_or_create(
        &self,
        requested: UploadRecord,
    ) -> Result<UploadRecord, UploadError> {
        let Some(request) = requested.request else {
            return match self.finished_content(&requested).await? {
                Some(finished) => Ok(finished),
                None => self.create(requested).await,
            };
        };
        let (finished, attempts) = futures::try_join!(
            self.finished_content(&requested),
            self.attempts(request, &requested)
        )?;
        if let Some(found) = finished.or(attempts.usable) {
            return Ok(found);
        }
        let created = self.create(requested).await?;
        let chosen = self.choose(request, attempts.next, &created).await;
        if chosen.as_ref().is_ok_and(|chosen| chosen.upload_id == created.upload_id) {
            return Ok(created);
        }
        self.abort_parts(&created).await;
        chosen
    }

    /// The newest usable finished upload of this content.
    async fn finished_content(
        &self,
        requested: &UploadRecord,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let Some(sha256) = requested.sha256 else { return Ok(None) };
        let size_bytes = requested.size_bytes;
        let prefix = layout::uploads_of_content(sha256, size_bytes);
        for key in self.first_names(prefix, MAX_CANDIDATES).await? {
            let upload_id = layout::parse_upload_of_content(&key, sha256, size_bytes);
            let Some(upload_id) = upload_id else { continue };
            let found = skip_damaged(self.finished_upload(upload_id, requested).await)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn finished_upload(
        &self,
        upload_id: Uuid,
        requested: &UploadRecord,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let found = self.find(upload_id).await?;
        let Some(record) = found.filter(|record| self.is_usable(record, requested)) else {
            return Ok(None);
        };
        Ok(self.finished(&record).await?.map(|_| record))
    }

    async fn attempts(
        &self,
        request: Sha256,
        requested: &UploadRecord,
    ) -> Result<Attempts, UploadError> {
        let names = self.first_names(layout::upload_attempts(request), 1).await?;
        let last = names.first().and_then(|key| layout::parse_upload_attempt(key, request));
        let Some(last) = last else { return Ok(Attempts { usable: None, next: 0 }) };
        let usable = skip_damaged(self.upload_of(request, last, requested).await)?;
        Ok(Attempts { usable, next: last.saturating_add(1) })
    }

    /// The upload of an attempt, if it is usable.
    async fn upload_of(
        &self,
        request: Sha256,
        number: u64,
        requested: &UploadRecord,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let key = layout::upload_attempt(request, number);
        let Some(attempt) = self.read::<Attempt>(&key).await? else { return Ok(None) };
        let found = self.find(attempt.upload_id).await?;
        let Some(record) = found.filter(|record| self.is_usable(record, requested)) else {
            return Ok(None);
        };
        if record.request != Some(request) {
            return Err(self.damaged(&key, InvalidRecord));
        }
        self.progress(&record).await?;
        Ok(Some(record))
    }

    /// Registers the upload as the request's attempt. Returns another upload if a concurrent call was first.
    async fn choose(
        &self,
        request: Sha256,
        mut number: u64,
        created: &UploadRecord,
    ) -> Result<UploadRecord, UploadError> {
        let attempt = Attempt { upload_id: created.upload_id };
        loop {
            let put = self.write(&layout::upload_attempt(request, number), &attempt).await?;
            if put == PutOutcome::Created {
                return Ok(created.clone());
            }
            // The attempt of another call, or of this one if the response was lost.
            let Attempts { usable, next } = self.attempts(request, created).await?;
            match usable {
                Some(chosen) => return Ok(chosen),
                None => number = next.max(number.saturating_add(1)),
            }
        }
    }

    fn is_usable(&self, record: &UploadRecord, requested: &UploadRecord) -> bool {
        !record.is_expired(requested.created_time.as_datetime(), self.retention)
    }

    /// Creates an upload that is not registered for a request yet.
    async fn create(&self, mut record: UploadRecord) -> Result<UploadRecord, UploadError> {
        loop {
            let document = layout::upload_document(record.upload_id);
            if record.size_bytes > 0 {
                let begin = || async {
                    self.parts()?
                        .begin(&document, super::store::MEDIA_TYPE, ObjectChecksum::Crc64Nvme)
                        .await
                };
                let upload = self.budget().run(begin, |_, _: &StoreError| {}).await?;
                record.part_upload_id = Some(upload.upload_id);
            }
            let key = layout::upload_record(record.upload_id);
            let outcome = async {
                match self.write(&key, &record).await? {
                    PutOutcome::Created => Ok(true),
                    // This upload's record if the response to the put was lost.
                    PutOutcome::Exists => match self.record(record.upload_id).await {
                        Err(error) if error.is_damage() => Ok(false),
                        found => Ok(found?.as_ref() == Some(&record)),
                    },
                }
            };
            match outcome.await {
                Ok(true) => return Ok(record),
                // The id belongs to another upload.
                Ok(false) => {
                    self.abort_parts(&record).await;
                    record.upload_id = self.clock.new_id();
                }
                Err(error) => {
                    self.abort_parts(&record).await;
                    return Err(error);
                }
            }
        }
    }

    /// The first keys with this prefix.
    async fn first_names(&self, prefix: String, limit: usize) -> Result<Vec<String>, UploadError> {
        let request = ListRequest { prefix, start_after: None, delimited: false, limit };
        let listing = self.budget().run(|| self.store.list(request.clone()), |_, _| {}).await?;
        Ok(listing.keys)
    }
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
