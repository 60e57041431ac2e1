//! Why an attempt made no bundle.

use super::{FailureReason, StartError, breaker::Outage, journal::JournalErrorKind};
use crate::{digest::Sha256, store::StoreError};

/// Why there is no bundle.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub reason: FailureReason,
    pub message: String,
}

/// How an attempt failed.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// The id names an export of other content; the digest of this one's.
    Reused(Sha256),
    Failed(Failure),
}

impl Failure {
    /// S3 was asked for, and there is no bucket any more.
    pub(super) fn no_bucket() -> Self {
        let message = "this server has no S3 bucket now: start it with S3_BUCKET_NAME".to_owned();
        Self { reason: FailureReason::StoreMisconfigured, message }
    }

    /// The id names an export of other content.
    pub(super) fn kept_elsewhere(location: &str) -> Self {
        let message = format!(
            "the id names an export of other content, sent while S3 did not answer; this content is kept in {location}"
        );
        Self { reason: FailureReason::RequestIdReused, message }
    }

    /// The local store can't take the bundle of an export that was meant for S3.
    pub(super) fn of_reused_fallback() -> Self {
        let message = "the local store has other content under this id, so the bundle waits for S3"
            .to_owned();
        Self { reason: FailureReason::RequestIdReused, message }
    }

    pub(super) fn of_known_outage(outage: Outage) -> Self {
        let message =
            format!("S3 failed a moment ago and is left alone for now: {}", outage.message);
        Self { reason: outage.reason, message }
    }

    /// A fault of this program.
    pub(super) fn of_panic() -> Self {
        let message = "a fault of this server: its log says more".to_owned();
        Self { reason: FailureReason::Internal, message }
    }

    /// Nothing happened any more.
    pub(super) fn of_hanging() -> Self {
        let message = "it hung, and is taken up anew: this server's log says more".to_owned();
        Self { reason: FailureReason::Internal, message }
    }

    /// The journal can't note what happened.
    pub(super) fn of_journal(error: &StartError) -> Self {
        let reason = match error {
            StartError::Journal { kind: JournalErrorKind::Full, .. } => {
                FailureReason::LocalStoreFull
            }
            _ => FailureReason::Internal,
        };
        Self { reason, message: error.to_string() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { reason: FailureReason::from(&error), message: error.to_string() }
    }
}

impl From<Failure> for Outage {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason, message: failure.message }
    }
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
