//! Checks one entry of the store's journal and finishes its export if necessary.

use std::sync::{Arc, PoisonError, atomic::AtomicBool};

use chrono::{DateTime, Utc};
use futures::{TryStreamExt as _, stream::BoxStream};
use tara_export_bundle::{
    AcceptedExport, ExportId, FormatVersion, Manifest, UndecodableExport,
    encoding::{EncodedHeader, FRAME_BYTES, header_end},
};
use tara_export_catalog::{
    Export, ExportState, StoredBundle, layout,
    records::{self, ExportRecord},
};
use tara_export_failpoint::failpoint;
use tara_export_store::{Object, ObjectKey, StoreError, StoreErrorKind, read_small};
use tara_export_telemetry::{
    names::{self, NONE},
    spans,
};
use tokio::{sync::watch::Receiver, time::Instant};
use tracing::Instrument as _;

use super::{Candidate, CandidateKey, Takeover};
use crate::export::{
    accept::admission::Permit,
    drive::{
        events::{EntryOf, settle_taken_over},
        observer::Activity,
        store_journal,
        work::{Work, WorkOrigin},
    },
    failure::{AttemptError, Failure},
    journal::Journal,
    run::watchdog::{Ended, watch},
};

impl Takeover {
    /// Whether this replica works on an export, or has it in its backlog or journal and will finish it.
    pub(super) fn has_export(&self, export_id: ExportId) -> bool {
        let is_in_journal = |journal: &Journal| {
            journal.may_have(export_id) && journal.why_unprocessable(export_id).is_none()
        };
        self.shared.registry.get(export_id).is_some_and(|run| !run.has_ended())
            || self.shared.backlog.has(export_id)
            || self.shared.journal().is_ok_and(is_in_journal)
    }

    /// Whether an entry has reached the takeover age, by the clocks of the store and this machine, or by the time that
    /// this process has known the entry.
    pub(super) fn is_old(&self, key: CandidateKey, modified_time: DateTime<Utc>) -> bool {
        let age = (self.shared.clock.now() - modified_time).to_std().unwrap_or_default();
        let limit = self.shared.settings.takeover_age;
        age >= limit || self.first_seen.age(key) >= limit
    }

    /// Ends the entry if its export has ended, and finishes the export otherwise.
    pub(super) async fn check(&self, candidate: &Candidate) -> Result<(), Failure> {
        let Candidate { export_id, content_digest, modified_time } = *candidate;
        if self.has_export(export_id) {
            return Ok(());
        }
        if modified_time.is_none() {
            let key = layout::journal_entry(export_id, content_digest);
            let Some(info) = found(self.s3.head(&key).await)? else { return Ok(()) };
            if info
                .modified_time
                .is_some_and(|time| !self.is_old((export_id, content_digest), time))
            {
                return Ok(());
            }
        }
        let Some(record) = records::read_record(self.s3.as_ref(), export_id).await? else {
            // The export was not accepted, or not yet.
            return Ok(());
        };
        let bundle = StoredBundle::find_recorded(&self.s3, export_id, record.clone()).await;
        let bundle = bundle.map_err(|error| Failure::internal(error.to_string()))?;
        let is_adopted = record.format_version == Manifest::NOT_RENDERED;
        if bundle.is_none() && !is_adopted {
            return self.take_over(candidate, record).await;
        }
        if let Some(bundle) = bundle.filter(|_| !is_adopted)
            && bundle.manifest().content_digest == content_digest
        {
            // Its replica may have died before it wrote the event.
            self.settle(candidate, &bundle.export()).await?;
        }
        self.end_entry(candidate).await;
        Ok(())
    }

    /// Writes the note of an export before its entry is ended.
    async fn settle(&self, candidate: &Candidate, export: &Export) -> Result<(), Failure> {
        let Candidate { export_id, content_digest, .. } = *candidate;
        let entry = EntryOf { export_id, content_digest };
        settle_taken_over(&self.shared, self.s3.as_ref(), entry, export).await
    }

    async fn end_entry(&self, candidate: &Candidate) {
        let (s3, entry) = (self.s3.as_ref(), store_journal::Entry::Listed);
        store_journal::end(s3, candidate.export_id, candidate.content_digest, entry).await;
    }

    /// Finishes an export that has a record and no bundle.
    async fn take_over(&self, candidate: &Candidate, record: ExportRecord) -> Result<(), Failure> {
        let Candidate { export_id, content_digest, .. } = *candidate;
        let journal = self
            .shared
            .journal()
            .map_err(|error| Failure::internal(format!("cannot take over an export: {error}")))?;
        // The export may have failed since it was listed.
        if store_journal::has_end_marker(self.s3.as_ref(), export_id, content_digest).await?
            || self.is_quarantined(candidate).await
        {
            return Ok(());
        }
        // A suspect may crash the process, so it runs alone.
        let is_suspect = journal.suspected_takeovers().contains(&candidate.key());
        let count = if is_suspect { self.permit_count } else { 1 };
        let Ok(_permit) = self.permits.acquire_many(count).await else { return Ok(()) };
        if self.shared.draining.is_cancelled() || self.has_export(export_id) {
            return Ok(());
        }
        let key = layout::journal_entry(export_id, content_digest);
        let Some(Object { info, body }) = found(self.s3.get(&key).await)? else { return Ok(()) };
        let header = read_header(body).await?;
        let entry = &header.header;
        if (entry.export_id, entry.content_digest) != candidate.key() {
            let location = self.s3.location(key.as_str());
            let message = format!("{location} contains the entry of another export");
            return Err(Failure::internal(message));
        }
        let is_of_record = record.content_digest == content_digest;
        if !is_of_record && record.format_version == u32::from(entry.format_version) {
            // The export was refused, or was accepted under a derived id by a replica that has it.
            self.end_entry(candidate).await;
            return Ok(());
        }
        let version = FormatVersion::try_from(record.format_version)
            .map_err(|error| Failure::internal(error.to_string()))?;
        let counted = self.shared.in_progress.count();
        let has_others = counted.has_others();
        let marker = journal.begin_takeover(export_id, content_digest, has_others).await;
        let memory_bytes = header.memory_bytes.max(info.size_bytes);
        let Some((export, permit)) = self.load(&key, memory_bytes).await? else { return Ok(()) };
        if !is_of_record && export.digest_in(version) != record.content_digest {
            self.end_entry(candidate).await;
            return Ok(());
        }
        tracing::warn!(%export_id, "taking over an accepted export that another replica left unfinished");
        let activity = Arc::new(Activity::new());
        let changes = activity.changes();
        let work = Work {
            shared: self.shared.clone(),
            export_id,
            content_digest: export.digest(),
            observer: activity,
            permit,
            attempt_marker: Some(marker),
            counted,
            origin: WorkOrigin::StoreJournal,
        };
        let committed = self.finish(work, changes, &export).await?;
        self.settle(candidate, &committed).await?;
        self.end_entry(candidate).await;
        Ok(())
    }

    /// Writes the bundle to S3, and returns the export.
    async fn finish(
        &self,
        work: Work,
        changes: Receiver<Instant>,
        export: &AcceptedExport,
    ) -> Result<Export, Failure> {
        let export_id = export.export_id;
        let mut result = None;
        let working = async {
            let manifest_sent = AtomicBool::new(false);
            result = Some(work.try_store(&self.s3, export, &manifest_sent, None).await);
        };
        let working = working.instrument(spans::export(export_id));
        match watch(working, export_id, changes, &self.shared.aborting).await {
            Ended::Done => {}
            Ended::Interrupted(failure) => return Err(failure),
            Ended::Aborted => return Err(Failure::internal("the server is shutting down")),
        }
        match result {
            Some(Ok(committed)) => {
                names::TAKEOVERS.add(1, NONE);
                let location = &committed.export.location;
                tracing::info!(%export_id, location, "committed an export of another replica");
                Ok(committed.export)
            }
            Some(Err(AttemptError::Failed(failure))) => Err(failure),
            // The record was already compared with the content.
            Some(Err(AttemptError::Reused(_))) | None => {
                Err(Failure::internal("the record of the export changed"))
            }
        }
    }

    /// Whether this machine has quarantined an entry that crashed the process too often.
    async fn is_quarantined(&self, candidate: &Candidate) -> bool {
        let Candidate { export_id, content_digest, .. } = *candidate;
        let Ok(journal) = self.shared.journal() else { return false };
        let is_quarantined = journal.is_takeover_quarantined(export_id, content_digest).await;
        let mut quarantined = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner);
        if is_quarantined {
            quarantined.insert(candidate.key());
        } else if quarantined.remove(&candidate.key()) {
            // `tara-export journal retry` released the entry.
            self.shared.tally.remove(ExportState::Quarantined);
        }
        is_quarantined
    }

    /// Reads an entry within reserved memory. First reserves the memory that its header states, then more if that is
    /// not enough. `None` if the server no longer admits exports.
    async fn load(
        &self,
        key: &ObjectKey,
        memory_bytes: u64,
    ) -> Result<Option<(AcceptedExport, Permit)>, Failure> {
        let shared = &self.shared;
        let limit_bytes = shared.settings.admission.request_memory_bytes;
        let mut reserved_bytes = memory_bytes.min(limit_bytes);
        loop {
            let Some(mut permit) = shared.admission.admit_journaled(reserved_bytes).await else {
                return Ok(None);
            };
            let (_, bytes) = read_small(self.s3.as_ref(), key, reserved_bytes).await?;
            let size_bytes = bytes.len() as u64;
            failpoint!("takeover.load", std::path::Path::new(key.as_str()), Ok(()))
                .map_err(|error: std::io::Error| Failure::internal(error.to_string()))?;
            let decoding =
                shared.computing.run(move || AcceptedExport::decode_within(bytes, reserved_bytes));
            let decoded = decoding.await.map_err(|error| Failure::internal(error.to_string()))?;
            let needed_bytes = match decoded {
                Ok(export) => {
                    let needed_bytes = export.content.footprint_bytes().max(size_bytes);
                    if needed_bytes <= reserved_bytes || reserved_bytes == limit_bytes {
                        permit.shrink_to(needed_bytes.min(reserved_bytes));
                        return Ok(Some((export, permit)));
                    }
                    needed_bytes.min(limit_bytes)
                }
                Err(UndecodableExport::OverBudget { .. }) if reserved_bytes < limit_bytes => {
                    limit_bytes
                }
                Err(error) => return Err(error.into()),
            };
            reserved_bytes = needed_bytes;
        }
    }
}

/// Returns `None` if the object does not exist, because another replica removed it.
fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the header of an entry without fetching the rest of the object.
async fn read_header(
    mut body: BoxStream<'static, Result<bytes::Bytes, StoreError>>,
) -> Result<EncodedHeader, Failure> {
    let mut first = Vec::new();
    let mut missing = FRAME_BYTES;
    while first.len() < missing {
        let Some(piece) = body.try_next().await? else { break };
        first.extend_from_slice(&piece);
        if first.len() >= FRAME_BYTES {
            missing = usize::try_from(header_end(&first)?).unwrap_or(usize::MAX);
        }
    }
    Ok(EncodedHeader::decode(&first)?)
}
