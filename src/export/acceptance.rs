//! Whether an export would be accepted now.

use super::{JournalError, JournalErrorKind, shared::Shared};
use crate::{
    health::{Refusal, RefusalReason},
    store::{Store, StoreErrorKind, honours_conditional_put},
};

/// What an error of the journal means to all exports; `None` if it concerns one only.
pub(super) fn refusal_of(error: &JournalError) -> Option<Refusal> {
    let reason = match (error, error.kind()) {
        (JournalError::Full { .. }, _) => RefusalReason::JournalFull,
        (_, JournalErrorKind::Full) => RefusalReason::DiskNotWritable,
        (_, JournalErrorKind::Unavailable) => RefusalReason::DiskFailing,
        (_, JournalErrorKind::Conflict | JournalErrorKind::Unreadable) => return None,
    };
    Some(Refusal { reason, message: error.to_string() })
}

/// Checks what every export needs: the journal, and a store that takes bundles.
pub(super) async fn check(shared: &Shared) -> Option<Refusal> {
    // A process that only reads is asked by nobody.
    let journal = shared.journal().ok()?;
    if let Err(error) = journal.check_writable().await {
        return refusal_of(&error);
    }
    let local = shared.stores.local.check_writable().await.err()?;
    // S3 is asked only where the local store fails, for each question costs a request.
    let refused = match &shared.stores.s3 {
        Some(s3) => refused_by_s3(shared, s3.as_ref()).await?,
        None => "there is no bucket".to_owned(),
    };
    let message = format!("{local}; {refused}");
    Some(Refusal { reason: RefusalReason::StoreRefuses, message })
}

/// Why S3 takes no bundles until somebody acts; `None` if it does, or may by itself.
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
