//! The report of a period: what became of its exports. Sent by mail.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;
use uuid::Uuid;

use super::{
    EmailAddress, SendError,
    email::{EmailTarget, Recipients},
};

/// What became of the exports of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its id: the same when it is sent again.
    pub id: Uuid,
    /// The start of the period.
    pub since: DateTime<Utc>,
    /// The end of the period, which is not part of it.
    pub until: DateTime<Utc>,
    /// The exports that were accepted in the period, by their state now.
    pub accepted: ReportCounts,
    /// The exports that failed in the period, the last one first.
    pub failures: ReportedExports,
    /// All exports that are not in their destination now, the oldest first.
    pub outstanding: ReportedExports,
    /// What else the reader must know.
    pub notes: Vec<ReportNote>,
}

/// The number of exports in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportCounts {
    /// Complete in their destination.
    pub committed: u64,
    /// Complete in the local store, although S3 was requested.
    pub fell_back: u64,
    /// Running or waiting.
    pub pending: u64,
    /// Ended without a bundle.
    pub failed: u64,
    /// An operator must act.
    pub quarantined: u64,
}

impl ReportCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { committed, fell_back, pending, failed, quarantined } = self;
        committed + fell_back + pending + failed + quarantined
    }
}

/// Exports in a list that may be cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportedExports {
    /// Their number.
    pub count: u64,
    /// The first of them. A mail lists at most 100.
    pub first: Vec<ReportedExport>,
}

/// One export of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedExport {
    /// Its id.
    pub export_id: ExportId,
    /// When it failed, or when it was accepted if it is outstanding.
    pub time: DateTime<Utc>,
    /// The document's name.
    pub document_name: String,
    /// The document's reviewer.
    pub reviewer: String,
    /// The reason of its state, in the words of the API; empty if the state needs no reason.
    pub reason: String,
    /// What failed. May contain names of documents and files.
    pub message: String,
}

/// Why numbers of a report are too low, and what they do not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportNote {
    /// Only so many exports were counted, the last ones.
    Limit(usize),
    /// S3 did not respond: bundles in it are not counted.
    StoreUnavailable,
    /// So many exports of the journal have not been read yet: they are counted as outstanding, and not listed.
    Unread(usize),
    /// So many entries of the journal are quarantined: an operator must act.
    Quarantined(usize),
}

/// Sends reports by the mail server of a target.
#[derive(Clone)]
pub struct ReportMailer(pub(crate) Arc<EmailTarget>);

impl fmt::Debug for ReportMailer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReportMailer")
    }
}

impl ReportMailer {
    /// Whether the target has no addresses of its own, because its `to` is `requested`.
    pub fn needs_addresses(&self) -> bool {
        self.0.recipients == Recipients::Requested
    }

    /// Sends a report once, in one mail: to these addresses or, without any, to those of the target.
    ///
    /// # Errors
    /// If the mail server did not accept the mail for all of them, or there is no address.
    pub async fn send(&self, report: &Report, to: &[EmailAddress]) -> Result<(), SendError> {
        self.0.send_report(report, to).await
    }
}
