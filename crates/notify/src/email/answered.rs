//! The recipients who need no further mail about an event.

use moka::{policy::EvictionPolicy, sync::Cache};
use tara_export_events::EventId;
use uuid::Uuid;

use super::address::EmailAddress;

/// Maximum number of pairs of event and recipient; the least recently used are forgotten first. With ten recipients for
/// each of 5,000 events, about 5 MB.
const MAX_ENTRIES: u64 = 50_000;

/// How far the mail to a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was tried, and is not answered for ever.
    Tried,
    /// The mail server took it.
    Accepted,
    /// The mail server will never take it.
    Rejected,
}

/// The recipients whose mails were answered, so that a retry for others does not mail them again. In memory only: after
/// a restart, they may get a second mail with the same Message-ID.
#[derive(Debug)]
pub(super) struct Answered {
    answers: Cache<Uuid, Answer>,
}

impl Answered {
    pub(super) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MAX_ENTRIES);
        Self { answers: cache.eviction_policy(EvictionPolicy::lru()).build() }
    }

    /// Remembers the answer for this recipient of the event.
    pub(super) fn insert(&self, event: EventId, recipient: &EmailAddress, answer: Answer) {
        self.answers.insert(key(event, recipient), answer);
    }

    /// The answer for this recipient of the event.
    pub(super) fn get(&self, event: EventId, recipient: &EmailAddress) -> Option<Answer> {
        self.answers.get(&key(event, recipient))
    }
}

/// One size for addresses of every length.
fn key(event: EventId, recipient: &EmailAddress) -> Uuid {
    Uuid::new_v5(event.as_uuid(), recipient.as_str().to_ascii_lowercase().as_bytes())
}
