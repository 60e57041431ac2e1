//! Targets of notifications: `NOTIFY_FILE`, and how events are sent to each kind of target.
//!
//! A target is read from the file (`target.rs`), and becomes a [`Sender`] of its kind. Senders know nothing of queues,
//! retries and replicas: they send once, within a time limit, and say what a failure means.
//!
//! Never depends on the backends of stores, the engine, gRPC or settings.

mod aws;
mod email;
mod reload;
mod report;
mod samples;
mod sender;
mod target;
mod templates;
mod webhook;

pub use self::{
    aws::{AwsContext, CredentialsRefused},
    email::{AllowedRecipients, EmailAddress, InvalidAddress, InvalidAllowedRecipients},
    reload::TargetsFile,
    report::{Report, ReportCounts, ReportMailer, ReportNote, ReportedExport, ReportedExports},
    sender::{SendError, SendErrorKind, Sender},
    target::{KindName, Target, TargetContext, Targets},
};
