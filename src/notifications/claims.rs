//! Which machine delivers an event: claims in the store, for replicas that work on the same export.
//!
//! | object below `.tara-export/events/` | put by |
//! |---|---|
//! | `<event_id>.json` | the first machine that has the event: its claim |
//! | `<event_id>.try-<slot>` | with `JOURNAL=store`: the machine whose turn it is after `TAKEOVER_AGE`, be it the owner or not |
//! | `<event_id>.done` | with `JOURNAL=store`: the machine that delivered it, or gave it up |
//!
//! If the store does not respond, the event is delivered without a claim: a duplicate rather than a loss.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_catalog::{
    layout::{self, JournalLocation},
    records::{self, EventClaim},
};
use tara_export_events::{Event, EventId, encode};
use tara_export_failpoint::failpoint;
use tara_export_store::{PutOutcome, Store, StoreError, StoreErrorKind, exists, within};
use tokio::time::{self, Instant};
use uuid::Uuid;

/// How long requests to the store may take before the event is delivered without them.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the store is not asked after it did not respond.
const SILENCE: Duration = Duration::from_secs(10);

/// Who delivers an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deliverer {
    /// This machine.
    Own,
    /// Another machine.
    Other,
    /// This machine, because the store does not respond.
    Unclaimed,
}

/// Whose turn it is to deliver an old event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// This machine's.
    Own,
    /// Another machine's, until this time.
    Other(DateTime<Utc>),
    /// No machine's: the event was delivered.
    Done,
}

/// The content of a turn and of an end: the machine, for human readers.
#[derive(Debug, Serialize, Deserialize)]
struct ByMachine {
    owner: Uuid,
}

/// The claims of this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    /// `None` without a bucket: no other machine has the events.
    pub s3: Option<Arc<dyn Store>>,
    pub owner: Uuid,
    pub journal: JournalLocation,
    pub takeover_age: Duration,
    /// After a request without a response, the store is not asked for a while: many events would wait for it in turn.
    pub silent_until: Arc<Mutex<Option<Instant>>>,
}

impl Claims {
    /// Whether other machines deliver the events of a lost one.
    pub(super) fn are_shared(&self) -> bool {
        self.journal == JournalLocation::Store && self.s3.is_some()
    }

    /// Whether other machines may deliver an event of this age, in turns.
    pub(super) fn has_turns(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.are_shared() && slot_of(since, now, self.takeover_age).is_some()
    }

    /// Claims an event for this machine or, if this one is synced after a fallback, for the machine that delivers the
    /// fallback, so that both come from one machine in their order. With `JOURNAL=store`, the claim has the recipients:
    /// another machine may have to deliver the event.
    pub(super) async fn claim(&self, event: &Event, fallback: Option<&Event>) -> Deliverer {
        let Some(s3) = &self.s3 else { return Deliverer::Own };
        let claiming = async {
            let owner = match fallback {
                Some(fallback) => self.put_claim(s3.as_ref(), fallback, self.owner).await?,
                None => self.owner,
            };
            self.put_claim(s3.as_ref(), event, owner).await
        };
        match self.asking(claiming).await {
            Some(owner) if owner == self.owner => Deliverer::Own,
            Some(_) => Deliverer::Other,
            None => Deliverer::Unclaimed,
        }
    }

    /// The store's answer. `None` if it does not respond, or did not respond a moment ago.
    async fn asking<T>(&self, request: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let silent_until = || self.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
        if silent_until().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let answer = time::timeout(TIMEOUT, request).await;
        let is_silent = match &answer {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => {
                tracing::info!(%error, "the store does not answer a request about an event");
                error.kind() == StoreErrorKind::Unavailable
            }
            Err(_) => true,
        };
        *silent_until() = is_silent.then(|| Instant::now() + SILENCE);
        answer.ok()?.ok()
    }

    /// Puts a claim. Returns the owner in the store.
    async fn put_claim(
        &self,
        s3: &dyn Store,
        event: &Event,
        owner: Uuid,
    ) -> Result<Uuid, StoreError> {
        let recipients = match self.are_shared() {
            true => event.recipients.clone(),
            false => Vec::new(),
        };
        let event_id = *event.id().as_uuid();
        let claim = EventClaim { owner, event: encode(&Event { recipients, ..event.clone() }) };
        let owner = records::claim_event(s3, event_id, &claim).await?;
        failpoint!("event.claimed");
        Ok(owner)
    }

    /// Takes the turn to deliver an event of this age, if there are turns for it yet. Without a response of the store, it
    /// is this machine's turn.
    pub(super) async fn take_turn(
        &self,
        event_id: EventId,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Turn {
        let Some(s3) = self.s3.as_ref().filter(|_| self.are_shared()) else { return Turn::Own };
        let Some((slot, end)) = slot_of(since, now, self.takeover_age) else { return Turn::Own };
        let event_id = *event_id.as_uuid();
        let taking = async {
            if exists(s3.as_ref(), &layout::event_done(event_id)).await? {
                return Ok(Turn::Done);
            }
            let key = layout::event_turn(event_id, slot);
            let turn = records::payload(&ByMachine { owner: self.owner });
            let is_own = match s3.put_if_absent(&key, turn).await? {
                PutOutcome::Created => true,
                PutOutcome::Exists => records::read::<ByMachine>(s3.as_ref(), &key)
                    .await?
                    .is_none_or(|found| found.owner == self.owner),
            };
            Ok::<_, StoreError>(if is_own { Turn::Own } else { Turn::Other(end) })
        };
        self.asking(taking).await.unwrap_or(Turn::Own)
    }

    /// Puts the end of an event, before this machine forgets it.
    ///
    /// # Errors
    /// If the store does not respond. The event must not be forgotten.
    pub(super) async fn put_done(&self, event_id: EventId) -> Result<(), StoreError> {
        let Some(s3) = self.s3.as_ref().filter(|_| self.are_shared()) else { return Ok(()) };
        let key = layout::event_done(*event_id.as_uuid());
        let done = records::payload(&ByMachine { owner: self.owner });
        within(TIMEOUT, s3.put_if_absent(&key, done)).await?;
        failpoint!("event.done");
        Ok(())
    }
}

/// The number and end of the slot that an event is in. Slots begin when the event is as old as the takeover age, and
/// each is twice as long as the one before, so that an event has few of them. `None` before.
pub(super) fn slot_of(
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    takeover_age: Duration,
) -> Option<(u32, DateTime<Utc>)> {
    let age = (now - since).to_std().ok()?;
    let takeover_age = takeover_age.max(Duration::from_secs(1));
    let ages = u64::try_from(age.as_nanos() / takeover_age.as_nanos()).unwrap_or(u64::MAX);
    let slot = ages.checked_ilog2()? + 1;
    let end_age = takeover_age.saturating_mul(1_u32.checked_shl(slot).unwrap_or(u32::MAX));
    let end =
        chrono::TimeDelta::from_std(end_age).ok().and_then(|age| since.checked_add_signed(age));
    Some((slot, end.unwrap_or(DateTime::<Utc>::MAX_UTC)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slots_double() {
        let since = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let at = |seconds: i64| since + chrono::TimeDelta::seconds(seconds);
        let slot = |seconds| slot_of(since, at(seconds), Duration::from_secs(600));
        assert_eq!(slot(-5), None);
        assert_eq!(slot(599), None);
        assert_eq!(slot(600), Some((1, at(1_200))));
        assert_eq!(slot(1_199), Some((1, at(1_200))));
        assert_eq!(slot(1_200), Some((2, at(2_400))));
        assert_eq!(slot(2_400), Some((3, at(4_800))));
        assert_eq!(slot(3 * 24 * 3_600).unwrap().0, 9);
    }
}
