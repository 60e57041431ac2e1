//! The setting `journal: store`: accepted exports lie in S3 too, and whichever replica is there
//! finishes those whose machine is gone (design, section 3, the last paragraph).

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures::TryStreamExt as _;
use tokio::time;
use tracing::Instrument as _;

use super::{
    Permit,
    events::Run,
    failure::{AttemptError, Failure},
    job::{Job, running_export},
    shared::Shared,
    store_journal::forget,
};
use crate::{
    bundle::{
        AcceptedExport, ExportId, FormatVersion, UndecodableExport,
        encoding::{EncodedHeader, FRAME_BYTES, header_end},
    },
    catalog::{StoredBundle, layout, records},
    digest::Sha256,
    store::{ListRequest, ObjectKey, Store, StoreError, StoreErrorKind, read_small},
    telemetry::{
        names::{self, NONE},
        spans,
    },
};

/// Entries asked of the store at once.
const LISTED_AT_ONCE: usize = 1_000;
/// Why an entry is left for the next look.
#[derive(Debug, thiserror::Error)]
enum TakeoverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the entry {0}")]
    Undecodable(#[from] UndecodableExport),
    #[error("{0}")]
    Failed(String),
}

/// Looks for exports that nobody finishes, until the server stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    let Some(s3) = shared.stores.s3.clone() else { return };
    loop {
        // Replicas that started together don't look together.
        let jitter = u32::from(shared.clock.new_id().as_bytes()[0]) / 2;
        let pause = shared.settings.takeover_interval * (192 + jitter) / 256;
        tokio::select! {
            () = time::sleep(pause) => {}
            () = shared.draining.cancelled() => return,
        }
        let looking = tokio::select! {
            looking = look(&shared, &s3) => looking,
            () = shared.aborting.cancelled() => return,
        };
        if let Err(error) = looking {
            tracing::warn!(%error, "the store's journal can't be looked through now");
        }
    }
}

/// Finishes what is old enough, one after the other.
async fn look(shared: &Arc<Shared>, s3: &Arc<dyn Store>) -> Result<(), StoreError> {
    let mut start_after = None;
    loop {
        let request = ListRequest {
            prefix: layout::journal_prefix(),
            start_after: start_after.take(),
            delimited: false,
            limit: LISTED_AT_ONCE,
        };
        let listing = s3.list(request).await?;
        for key in &listing.keys {
            if shared.draining.is_cancelled() {
                return Ok(());
            }
            let Some((export_id, digest)) = layout::parse_journal_entry(key) else { continue };
            match finish(shared, s3, export_id, digest).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%export_id, %error, "an export of a lost replica can't be finished now");
                }
            }
        }
        match listing.keys.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}

/// Finishes one export, unless somebody did or may still be at it.
async fn finish(
    shared: &Arc<Shared>,
    s3: &Arc<dyn Store>,
    export_id: ExportId,
    content_digest: Sha256,
) -> Result<(), TakeoverError> {
    let key = layout::journal_entry(export_id, content_digest);
    let is_here = shared.registry.get(export_id).is_some_and(|run| !run.has_ended())
        || shared.backlog.get(export_id).is_some();
    if is_here || !is_old(shared, s3.as_ref(), &key).await? {
        return Ok(());
    }
    let Some(record) = records::read_record(s3.as_ref(), export_id).await? else {
        // Not accepted, or not yet.
        return Ok(());
    };
    let found = StoredBundle::find(s3, export_id).await;
    if found.map_err(|error| TakeoverError::Failed(error.to_string()))?.is_some() {
        forget(s3.as_ref(), export_id, content_digest).await;
        return Ok(());
    }
    let size_bytes = s3.head(&key).await?.size_bytes;
    let memory_bytes = read_header(s3.as_ref(), &key).await?.memory_bytes.max(size_bytes);
    let Some((export, permit)) = load(shared, s3.as_ref(), &key, memory_bytes).await? else {
        return Ok(());
    };
    let pinned = FormatVersion::try_from(record.format_version);
    if pinned.is_ok_and(|version| export.digest_in(version) != record.content_digest) {
        // Refused, or accepted under a derived id: the replica that has it knows which.
        return Ok(());
    }
    tracing::warn!(%export_id, "an accepted export was left unfinished by another replica: this one finishes it");
    let run = Run::unheard(running_export(&export.header()), export.digest(), &shared.clock);
    let job = Job::new(shared.clone(), run, permit);
    if let Ok(journal) = shared.journal() {
        journal.share_attempts().await;
    }
    let span = spans::export(export_id);
    match job.attempt(s3, &export, &AtomicBool::new(false)).instrument(span).await {
        Ok(made) => {
            names::TAKEOVERS.add(1, NONE);
            tracing::info!(%export_id, location = made.export.location, "another replica's export is committed");
            forget(s3.as_ref(), export_id, content_digest).await;
            Ok(())
        }
        Err(AttemptError::Failed(Failure { reason, message })) => {
            Err(TakeoverError::Failed(format!("{message} ({reason})")))
        }
        Err(AttemptError::Reused(_)) => Ok(()),
    }
}

/// Reads the header of an entry and no more than a little beyond: the rest of the object is not
/// fetched.
async fn read_header(s3: &dyn Store, key: &ObjectKey) -> Result<EncodedHeader, TakeoverError> {
    let mut body = s3.get(key).await?.body;
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

/// Reads an entry within memory that is reserved before: what its header says at first, and all there
/// is if that is not enough. `None` if the server has no room any more.
async fn load(
    shared: &Shared,
    s3: &dyn Store,
    key: &ObjectKey,
    memory_bytes: u64,
) -> Result<Option<(AcceptedExport, Permit)>, TakeoverError> {
    let limit_bytes = shared.settings.admission.request_memory_bytes;
    let mut reserved_bytes = memory_bytes.min(limit_bytes);
    loop {
        let Some(mut permit) = shared.admission.admit_journaled(reserved_bytes).await else {
            return Ok(None);
        };
        let (_, bytes) = read_small(s3, key, reserved_bytes).await?;
        let size_bytes = bytes.len() as u64;
        let decoding =
            shared.computing.run(move || AcceptedExport::decode_within(bytes, reserved_bytes));
        let decoded = decoding.await.map_err(|error| TakeoverError::Failed(error.to_string()))?;
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

/// Whether an entry is older than a replica should need, by the store's clock for both where its own
/// clock is close.
async fn is_old(shared: &Shared, s3: &dyn Store, key: &ObjectKey) -> Result<bool, StoreError> {
    let info = match s3.head(key).await {
        Ok(info) => info,
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(stored_time) = info.modified_time else { return Ok(true) };
    let age = (shared.clock.now() - stored_time).to_std().unwrap_or(Duration::ZERO);
    Ok(age >= shared.settings.takeover_age)
}
