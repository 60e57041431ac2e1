//! Checks whether an export would be accepted now.

use tara_export_store::{Store, StoreErrorKind, honours_conditional_put};

use crate::{
    export::{
        journal::{JournalError, JournalErrorKind},
        shared::Shared,
    },
    health::{Refusal, RefusalReason},
};

/// The refusal that a journal error means for all exports; `None` if it affects only one export.
pub(in crate::export) fn refusal_of(error: &JournalError) -> Option<Refusal> {
    let reason = match (error, error.kind()) {
        (JournalError::Full { .. }, _) => RefusalReason::JournalFull,
        // Exports of other callers, and exports that can fall back, are still accepted.
        (JournalError::TooManyFailures { .. }, _) => return None,
        (_, JournalErrorKind::Full) => RefusalReason::DiskNotWritable,
        (_, JournalErrorKind::Unavailable) => RefusalReason::DiskFailing,
        (_, JournalErrorKind::Conflict | JournalErrorKind::Unreadable) => return None,
    };
    Some(Refusal { reason, message: error.to_string() })
}

/// Checks the requirements of every export: a writable journal, and a store that accepts bundles.
pub(in crate::export) async fn check(shared: &Shared) -> Option<Refusal> {
    // A read-only process refuses every request; this check does not apply to it.
    let journal = shared.journal().ok()?;
    if let Err(error) = journal.check_writable().await {
        return refusal_of(&error);
    }
    let local = shared.stores.local.check_writable().await.err()?;
    // S3 is checked only if the local store fails, since each check costs a request.
    let refused = match &shared.stores.s3 {
        Some(s3) => refused_by_s3(shared, s3.as_ref()).await?,
        None => "there is no bucket".to_owned(),
    };
    let message = format!("{local}; {refused}");
    Some(Refusal { reason: RefusalReason::StoreRefuses, message })
}

/// Why S3 accepts no bundles until an operator acts; `None` if it accepts them, or may recover by itself.
async fn refused_by_s3(shared: &Shared, s3: &dyn Store) -> Option<String> {
    match honours_conditional_put(s3).await {
        Ok(false) if !shared.settings.allow_unsafe_store => {
            Some("the S3 server ignores If-None-Match".to_owned())
        }
        Ok(_) => None,
        Err(error) if error.kind() == StoreErrorKind::Unavailable => None,
        Err(error) => Some(error.to_string()),
    }
}
