//! Which event is sent to which target next. Pure state: the dispatcher does all work.
//!
//! Each target has its own queue, so that one that does not respond delays no other. A failed delivery changes only this
//! state, nothing on disk.
//!
//! Invariant: of one export's events, a target gets the next one only after it answered the previous one, or that one
//! was given up.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tara_export_clock::jittered;
use tara_export_digest::Sha256;
use tara_export_events::{DeadDelivery, EventId, EventType, StoredEvent};
use tara_export_notify::{SendError, SendErrorKind};
use tokio::time::Instant;
use uuid::Uuid;

/// Deliveries to one target at the same time.
const MAX_PARALLEL: usize = 4;
/// Events in one message of a target with digests.
const MAX_DIGEST: usize = 1_000;
/// The pause before an event is sent again is a quarter of its age, within these bounds.
const EVENT_PAUSE: (Duration, Duration) =
    (Duration::from_secs(5), Duration::from_secs(6 * 60 * 60));
/// The pause before a failing target is tried again is a quarter of its outage, within these bounds.
const TARGET_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// Maximum length of the text of an error that is kept.
const ERROR_LIMIT_BYTES: usize = 512;

/// The name of a target. Kept after the target is removed from the file.
pub(super) type Name = String;

/// How a target's queue works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TargetRules {
    /// How long events are collected for one message; zero for one message each.
    pub digest: Duration,
}

/// Where a delivery is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Delivery {
    /// It waits, perhaps for an earlier event of its export.
    Waiting,
    /// It waits for a time, because the target refused it.
    Deferred(Instant),
    /// It is being sent.
    InFlight,
    /// The target answered.
    Answered,
    /// It was given up.
    Dead(DeadDelivery),
}

impl Delivery {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Answered | Self::Dead(_))
    }
}

/// An event that at least one target has not answered.
#[derive(Debug)]
pub(super) struct Waiting {
    subject_id: Uuid,
    content_digest: Option<Sha256>,
    pub event_type: EventType,
    /// The time from which on deliveries are tried.
    pub since: DateTime<Utc>,
    inserted: Instant,
    /// By target.
    pub deliveries: BTreeMap<Name, Delivery>,
    /// The last failure by target.
    pub errors: BTreeMap<Name, String>,
}

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetState {
    /// It answers.
    Active,
    /// It does not answer since the first time; it is tried again at the second.
    Failing { since: Instant, next: Instant },
    /// It asked not to be sent anything again.
    Disabled,
}

/// One target's queue.
#[derive(Debug)]
pub(super) struct TargetQueue {
    rules: TargetRules,
    pub state: TargetState,
    in_flight: usize,
    /// Events that can be sent, the oldest first.
    ready: BTreeSet<(DateTime<Utc>, EventId)>,
    deferred: BTreeSet<(Instant, EventId)>,
    /// Events that wait for an earlier one of their export, by that one.
    blocked: HashMap<EventId, Vec<EventId>>,
    pub last_error: String,
    pub last_delivered: Option<DateTime<Utc>>,
}

/// The next delivery to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextDelivery {
    /// Send these events now.
    Send(Vec<EventId>),
    /// Ask again at this time.
    At(Instant),
    /// Ask again after a change.
    Nothing,
}

/// An event that every target answered, or gave up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub event_id: EventId,
    pub event_type: EventType,
    pub targets: Vec<Name>,
    /// The deliveries that were given up.
    pub dead: Vec<DeadDelivery>,
}

/// The events that wait, and the queues of all targets.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: HashMap<EventId, Waiting>,
    by_age: BTreeSet<(DateTime<Utc>, EventId)>,
    targets: BTreeMap<Name, TargetQueue>,
}

impl Queue {
    /// Replaces the targets. Events of targets that no longer exist are given up. A target that is still there keeps its
    /// state, unless it was disabled: the file has changed.
    pub(super) fn set_targets(
        &mut self,
        targets: impl IntoIterator<Item = (Name, TargetRules)>,
        now: DateTime<Utc>,
    ) -> Vec<Ended> {
        let mut previous = std::mem::take(&mut self.targets);
        for (name, rules) in targets {
            let mut queue = previous.remove(&name).unwrap_or_else(|| TargetQueue::new(rules));
            queue.rules = rules;
            if queue.state == TargetState::Disabled {
                queue.state = TargetState::Active;
            }
            self.targets.insert(name, queue);
        }
        let mut ended = Vec::new();
        for name in previous.into_keys() {
            let left: Vec<EventId> = self.events.keys().copied().collect();
            for event_id in left {
                let reason = "TARGET_REMOVED: NOTIFY_FILE has no target of this name any more";
                ended.extend(self.give_up(event_id, &name, reason, now));
            }
        }
        ended
    }

    /// Adds an event for these targets. Targets that `answered` before get it no more. Returns the event if it has ended
    /// already.
    pub(super) fn insert(
        &mut self,
        stored: &StoredEvent,
        targets: Vec<Name>,
        answered: &[Name],
        now: Instant,
    ) -> Option<Ended> {
        let (event, event_id) = (&stored.event, stored.event.id());
        if self.events.contains_key(&event_id) {
            return None;
        }
        let since = stored.since();
        let deliveries = targets.into_iter().map(|name| {
            let is_answered = answered.contains(&name);
            (name, if is_answered { Delivery::Answered } else { Delivery::Waiting })
        });
        let waiting = Waiting {
            subject_id: event.subject_id(),
            content_digest: event.content_digest,
            event_type: event.event_type,
            since,
            inserted: now,
            deliveries: deliveries.collect(),
            errors: BTreeMap::new(),
        };
        let outstanding: Vec<Name> = waiting
            .deliveries
            .iter()
            .filter(|(_, delivery)| !delivery.has_ended())
            .map(|(name, _)| name.clone())
            .collect();
        self.events.insert(event_id, waiting);
        self.by_age.insert((since, event_id));
        for name in outstanding {
            self.enqueue(event_id, &name);
        }
        self.take_ended(event_id)
    }

    /// Makes an event ready for a target, or lets it wait for an earlier event of its export.
    fn enqueue(&mut self, event_id: EventId, name: &Name) {
        let earlier = self.earlier_event(event_id, name);
        let (Some(waiting), Some(queue)) = (self.events.get(&event_id), self.targets.get_mut(name))
        else {
            return;
        };
        match earlier {
            Some(earlier) => queue.blocked.entry(earlier).or_default().push(event_id),
            None => {
                queue.ready.insert((waiting.since, event_id));
            }
        }
    }

    /// The last earlier event of the same export that this target has not answered.
    fn earlier_event(&self, event_id: EventId, name: &Name) -> Option<EventId> {
        let waiting = self.events.get(&event_id)?;
        let earlier = EventType::ALL.into_iter().rev().filter(|kind| *kind < waiting.event_type);
        earlier
            .map(|kind| EventId::of_subject(waiting.subject_id, waiting.content_digest, kind))
            .find(|earlier| {
                let delivery =
                    self.events.get(earlier).and_then(|event| event.deliveries.get(name));
                delivery.is_some_and(|delivery| !delivery.has_ended())
            })
    }

    /// The next delivery to a target. The events of [`NextDelivery::Send`] are in flight from now on.
    pub(super) fn next(&mut self, name: &Name, now: Instant) -> NextDelivery {
        let Some(queue) = self.targets.get_mut(name) else { return NextDelivery::Nothing };
        while let Some((time, event_id)) = queue.deferred.first().copied()
            && time <= now
        {
            queue.deferred.pop_first();
            if let Some(waiting) = self.events.get_mut(&event_id) {
                waiting.deliveries.insert(name.clone(), Delivery::Waiting);
                queue.ready.insert((waiting.since, event_id));
            }
        }
        let limit = if queue.rules.digest.is_zero() { MAX_PARALLEL } else { 1 };
        match queue.state {
            TargetState::Disabled => return NextDelivery::Nothing,
            TargetState::Failing { .. } if queue.in_flight > 0 => return NextDelivery::Nothing,
            TargetState::Failing { next, .. } if next > now => return NextDelivery::At(next),
            _ if queue.in_flight >= limit => return NextDelivery::Nothing,
            _ => {}
        }
        let Some(oldest) = queue.ready.first().copied() else {
            return match queue.deferred.first() {
                Some((time, _)) => NextDelivery::At(*time),
                None => NextDelivery::Nothing,
            };
        };
        let mut taken = Vec::new();
        if queue.rules.digest.is_zero() {
            queue.ready.remove(&oldest);
            taken.push(oldest.1);
        } else {
            let inserted = self.events.get(&oldest.1).map_or(now, |waiting| waiting.inserted);
            let due = inserted + queue.rules.digest;
            if due > now {
                return NextDelivery::At(due);
            }
            while taken.len() < MAX_DIGEST
                && let Some((_, event_id)) = queue.ready.pop_first()
            {
                taken.push(event_id);
            }
        }
        queue.in_flight += 1;
        for event_id in &taken {
            if let Some(waiting) = self.events.get_mut(event_id) {
                waiting.deliveries.insert(name.clone(), Delivery::InFlight);
            }
        }
        NextDelivery::Send(taken)
    }

    /// A target took these events. Returns the events that have ended.
    pub(super) fn answered(
        &mut self,
        name: &Name,
        events: &[EventId],
        now: DateTime<Utc>,
    ) -> Vec<Ended> {
        if let Some(queue) = self.targets.get_mut(name) {
            queue.state = TargetState::Active;
            queue.last_delivered = Some(now);
            queue.last_error.clear();
        }
        let mut ended = Vec::new();
        for event_id in events {
            ended.extend(self.end_delivery(*event_id, name, Delivery::Answered));
        }
        ended
    }

    /// A target did not take these events. `random` is from 0 to 255. Returns the events that have ended.
    pub(super) fn failed(
        &mut self,
        name: &Name,
        events: &[EventId],
        error: &SendError,
        (now, time): (Instant, DateTime<Utc>),
        random: u8,
    ) -> Vec<Ended> {
        let message = &error.message;
        let message = &message[..message.floor_char_boundary(ERROR_LIMIT_BYTES)];
        for event_id in events {
            if let Some(waiting) = self.events.get_mut(event_id) {
                waiting.errors.insert(name.clone(), message.to_owned());
            }
        }
        let Some(queue) = self.targets.get_mut(name) else { return Vec::new() };
        message.clone_into(&mut queue.last_error);
        match error.kind {
            SendErrorKind::Unavailable => {
                let since = match queue.state {
                    TargetState::Failing { since, .. } => since,
                    _ => now,
                };
                let pause =
                    jittered(quarter(now - since, TARGET_PAUSE), random).min(TARGET_PAUSE.1);
                let pause = pause.max(error.retry_after.unwrap_or_default());
                queue.state = TargetState::Failing { since, next: now + pause };
            }
            SendErrorKind::Gone => queue.state = TargetState::Disabled,
            SendErrorKind::Refused => {
                queue.state = TargetState::Active;
                for event_id in events {
                    self.defer(*event_id, name, error.retry_after, (now, time), random);
                }
                return Vec::new();
            }
            SendErrorKind::Rejected => {
                queue.state = TargetState::Active;
                let message = message.to_owned();
                return events
                    .iter()
                    .filter_map(|event_id| self.give_up(*event_id, name, &message, time))
                    .collect();
            }
        }
        self.return_events(name, events);
        Vec::new()
    }

    /// A delivery ended: the target may get the next one.
    pub(super) fn end_sending(&mut self, name: &Name) {
        if let Some(queue) = self.targets.get_mut(name) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
        }
    }

    fn return_events(&mut self, name: &Name, events: &[EventId]) {
        for event_id in events {
            if let Some(waiting) = self.events.get_mut(event_id) {
                waiting.deliveries.insert(name.clone(), Delivery::Waiting);
            }
            self.enqueue(*event_id, name);
        }
    }

    fn defer(
        &mut self,
        event_id: EventId,
        name: &Name,
        retry_after: Option<Duration>,
        (now, time): (Instant, DateTime<Utc>),
        random: u8,
    ) {
        let Some(waiting) = self.events.get(&event_id) else { return };
        let age = (time - waiting.since).to_std().unwrap_or_default();
        let pause = jittered(quarter(age, EVENT_PAUSE), random);
        self.set_deferred(event_id, name, now + pause.max(retry_after.unwrap_or_default()));
    }

    /// Lets an event wait until this time.
    pub(super) fn set_deferred(&mut self, event_id: EventId, name: &Name, until: Instant) {
        let (Some(waiting), Some(queue)) =
            (self.events.get_mut(&event_id), self.targets.get_mut(name))
        else {
            return;
        };
        waiting.deliveries.insert(name.clone(), Delivery::Deferred(until));
        queue.deferred.insert((until, event_id));
    }

    /// Gives up the deliveries of events that are too old. Returns the events that have ended.
    pub(super) fn expire(&mut self, now: DateTime<Utc>, give_up_after: Duration) -> Vec<Ended> {
        let mut expired = Vec::new();
        for (since, event_id) in &self.by_age {
            if (now - since).to_std().unwrap_or_default() < give_up_after {
                break;
            }
            expired.push(*event_id);
        }
        let mut ended = Vec::new();
        for event_id in expired {
            ended.extend(self.give_up_event(event_id, "EXPIRED", now));
        }
        ended
    }

    /// Gives up the oldest events beyond a number of them. Returns the events that have ended.
    pub(super) fn limit(&mut self, max_events: usize, now: DateTime<Utc>) -> Vec<Ended> {
        let surplus = self.events.len().saturating_sub(max_events);
        let oldest: Vec<EventId> =
            self.by_age.iter().take(surplus).map(|(_, event_id)| *event_id).collect();
        let reason = format!("OUTBOX_FULL: more than {max_events} events wait");
        let mut ended = Vec::new();
        for event_id in oldest {
            ended.extend(self.give_up_event(event_id, &reason, now));
        }
        ended
    }

    /// Gives up all deliveries of an event that are not being sent now.
    fn give_up_event(
        &mut self,
        event_id: EventId,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Option<Ended> {
        let waiting = self.events.get(&event_id)?;
        let names: Vec<Name> = waiting
            .deliveries
            .iter()
            .filter(|(_, delivery)| !delivery.has_ended() && **delivery != Delivery::InFlight)
            .map(|(name, _)| name.clone())
            .collect();
        let mut ended = None;
        for name in names {
            ended = ended.or(self.give_up(event_id, &name, reason, now));
        }
        ended
    }

    fn give_up(
        &mut self,
        event_id: EventId,
        name: &Name,
        reason: &str,
        time: DateTime<Utc>,
    ) -> Option<Ended> {
        let waiting = self.events.get(&event_id)?;
        let delivery = waiting.deliveries.get(name)?;
        if delivery.has_ended() {
            return None;
        }
        let reason = match waiting.errors.get(name) {
            Some(error) if error != reason => format!("{reason}: {error}"),
            _ => reason.to_owned(),
        };
        let dead = DeadDelivery { target: name.clone(), reason, time };
        self.end_delivery(event_id, name, Delivery::Dead(dead))
    }

    fn end_delivery(&mut self, event_id: EventId, name: &Name, end: Delivery) -> Option<Ended> {
        let waiting = self.events.get_mut(&event_id)?;
        let previous = waiting.deliveries.insert(name.clone(), end);
        let since = waiting.since;
        if let Some(queue) = self.targets.get_mut(name) {
            queue.ready.remove(&(since, event_id));
            if let Some(Delivery::Deferred(until)) = previous {
                queue.deferred.remove(&(until, event_id));
            }
            for blocked in queue.blocked.remove(&event_id).unwrap_or_default() {
                self.enqueue(blocked, name);
            }
        }
        self.take_ended(event_id)
    }

    /// Removes an event if all its deliveries have ended.
    fn take_ended(&mut self, event_id: EventId) -> Option<Ended> {
        let waiting = self.events.get(&event_id)?;
        if !waiting.deliveries.values().all(Delivery::has_ended) {
            return None;
        }
        let waiting = self.events.remove(&event_id)?;
        self.by_age.remove(&(waiting.since, event_id));
        let (event_type, targets) =
            (waiting.event_type, waiting.deliveries.keys().cloned().collect());
        let dead = waiting.deliveries.into_values().filter_map(|delivery| match delivery {
            Delivery::Dead(dead) => Some(dead),
            _ => None,
        });
        Some(Ended { event_id, event_type, targets, dead: dead.collect() })
    }

    /// Removes an event that another machine delivers. A delivery in flight continues.
    pub(super) fn remove(&mut self, event_id: EventId) {
        let Some(waiting) = self.events.get(&event_id) else { return };
        let names: Vec<Name> = waiting.deliveries.keys().cloned().collect();
        for name in names {
            let _ended = self.end_delivery(event_id, &name, Delivery::Answered);
        }
    }

    /// Whether other targets than this one have not answered an event.
    pub(super) fn has_others(&self, event_id: EventId, name: &Name) -> bool {
        self.events.get(&event_id).is_some_and(|waiting| {
            waiting
                .deliveries
                .iter()
                .any(|(other, delivery)| other != name && !delivery.has_ended())
        })
    }

    /// The events that wait, without an order.
    pub(super) fn events(&self) -> &HashMap<EventId, Waiting> {
        &self.events
    }

    /// The targets by name.
    pub(super) fn targets(&self) -> &BTreeMap<Name, TargetQueue> {
        &self.targets
    }

    /// For each target, the number of events that wait for it, and the time of the oldest one.
    pub(super) fn backlogs(&self) -> BTreeMap<&Name, (u64, Option<DateTime<Utc>>)> {
        let mut backlogs: BTreeMap<_, _> =
            self.targets.keys().map(|name| (name, (0, None))).collect();
        for (since, event_id) in &self.by_age {
            let Some(waiting) = self.events.get(event_id) else { continue };
            for (name, delivery) in &waiting.deliveries {
                if let Some((count, oldest)) = backlogs.get_mut(name)
                    && !delivery.has_ended()
                {
                    *count += 1;
                    *oldest = oldest.or(Some(*since));
                }
            }
        }
        backlogs
    }
}

impl TargetQueue {
    fn new(rules: TargetRules) -> Self {
        Self {
            rules,
            state: TargetState::Active,
            in_flight: 0,
            ready: BTreeSet::new(),
            deferred: BTreeSet::new(),
            blocked: HashMap::new(),
            last_error: String::new(),
            last_delivered: None,
        }
    }
}

fn quarter(age: Duration, (from, to): (Duration, Duration)) -> Duration {
    (age / 4).clamp(from, to)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "queue_tests.rs"]
mod tests;
