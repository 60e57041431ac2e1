//! Sending events to one target.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tara_export_events::Event;

/// What a failed delivery means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendErrorKind {
    /// The target does not respond, or is not able to take any event now. All its events wait.
    Unavailable,
    /// The target refused these events. Others may be accepted, and these later.
    Refused,
    /// The target will never take these events, such as a mail server that does not know the recipient.
    Rejected,
    /// The target asked not to be sent anything again (HTTP 410).
    Gone,
}

/// A failed delivery. The message contains no secret, and no URL that is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// What the failure means.
    pub kind: SendErrorKind,
    /// What failed, for operators.
    pub message: String,
    /// How long the target asked to wait.
    pub retry_after: Option<Duration>,
}

impl SendError {
    /// A failure without a time.
    pub fn new(kind: SendErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }
}

/// Sends events to one target. Every call ends within the sender's own time limit.
#[async_trait]
pub trait Sender: fmt::Debug + Send + Sync {
    /// Sends the events once, in their order. Kinds that have no digests get one event.
    ///
    /// # Errors
    /// If the target did not confirm all of them. It may have got some or all of them.
    async fn send(&self, events: &[Event]) -> Result<(), SendError>;

    /// Checks what can be checked without sending an event: that the target resolves, connects, and accepts the
    /// credentials.
    ///
    /// # Errors
    /// What an operator must change.
    async fn check(&self) -> Result<(), SendError>;
}
