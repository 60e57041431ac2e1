//! Steps 18 to 20: the state of events, their notes, claims and deliveries.
//!
//! An event is identified by its export, the export's content and its type. A content has one
//! digest here: releases that encode it differently are left out.

use crate::{
    names::{ExportId, ReplicaNumber, RequestNumber},
    protocol::Protocol,
    state::{REPLICAS, REQUESTS, State},
    store::{Key, Value},
    takeover::JOURNAL_STORE,
};

/// The number of event types.
pub const EVENT_TYPES: usize = 4;

/// A data directory, as claims name it. A machine that replaces a lost one is another machine.
pub type Machine = u8;

/// The type of an event. `quarantined` follows the same order as `failed` and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// The bundle is in the local store.
    FellBack,
    /// The bundle is in S3.
    Committed,
    /// The bundle is in S3, after it was in the local store.
    Synced,
    /// The export ended without a bundle.
    Failed,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; EVENT_TYPES] =
        [Self::FellBack, Self::Committed, Self::Synced, Self::Failed];

    /// The types of which an export has one in the end.
    pub const LAST: [Self; 3] = [Self::Committed, Self::Synced, Self::Failed];
}

/// The id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The export.
    pub export: ExportId,
    /// The content of the export; 0 if that mechanism is disabled.
    pub content: u8,
    /// The type.
    pub event: EventType,
}

/// A note on a replica's disk, with what its process knows about it. A crash leaves the folder:
/// every state between `Pending` and `Acknowledged` is `Pending` again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// In `settled/`.
    Settled,
    /// In `events/pending/`.
    Pending,
    /// In `events/pending/`, and this machine has the claim.
    Claimed,
    /// In `events/pending/`, and S3 did not respond to the claim.
    Unclaimed,
    /// In `events/pending/`, and the target answered.
    Answered,
    /// In `events/pending/`, and `.done` is in the store.
    Acknowledged,
    /// In `events/delivered/` without `.done`; only if that mechanism is disabled.
    Forgotten,
    /// In `events/delivered/`.
    Delivered,
    /// In `events/delivered/`, because another machine has the claim.
    Yielded,
}

impl Note {
    /// Whether this machine has no more work on the event.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Forgotten | Self::Delivered | Self::Yielded)
    }

    /// Whether the process knows something that a crash removes.
    fn is_in_memory(self) -> bool {
        matches!(
            self,
            Self::Claimed | Self::Unclaimed | Self::Answered | Self::Acknowledged | Self::Forgotten
        )
    }

    /// Whether the target answered, and a crash would repeat the delivery.
    fn is_answered(self) -> bool {
        matches!(self, Self::Answered | Self::Acknowledged)
    }
}

/// An orphan that a replica delivers. Not on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orphan {
    /// The event.
    pub id: EventId,
    /// The request.
    pub request: RequestNumber,
    /// Whether the target answered.
    pub is_answered: bool,
}

/// What the target got about one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Received {
    /// The number of deliveries, by type.
    pub deliveries: [u8; EVENT_TYPES],
    /// The number of reasons to deliver again, by type: a lost answer, a delivery without a claim
    /// because S3 did not respond, a process or machine that ended between the answer and its
    /// record.
    pub reasons_to_repeat: [u8; EVENT_TYPES],
    /// Whether `synced` arrived before `fell_back`.
    pub synced_was_first: bool,
    /// Whether `fell_back` arrived after `committed` or `synced`, and neither after it.
    pub fell_back_is_last: bool,
}

/// How often each fault of deliveries may still occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventBudget {
    /// Deliveries whose answer is lost.
    pub lost_answers: u8,
    /// Outages of the target.
    pub target_outages: u8,
    /// Claims that take effect some time after their sender saw an error.
    pub late_claims: u8,
    /// Times that `TAKEOVER_AGE` passes.
    pub ages: u8,
}

/// The part of the state that belongs to events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Events {
    /// The notes, by replica, request and type.
    pub notes: [[[Option<Note>; EVENT_TYPES]; REQUESTS]; REPLICAS],
    /// Whether a replica's local bundle needs a `fell_back` event, by replica and request.
    pub fell_back: [[bool; REQUESTS]; REPLICAS],
    /// The machine of each replica.
    pub machines: [Machine; REPLICAS],
    /// The next new machine.
    pub next_machine: Machine,
    /// The orphan that each process delivers.
    pub orphans: [Option<Orphan>; REPLICAS],
    /// What the target got, by request.
    pub received: [Received; REQUESTS],
    /// Whether the target responds.
    pub target_is_up: bool,
    /// How often `TAKEOVER_AGE` has passed.
    pub age: u8,
    /// The faults that may still occur.
    pub budget: EventBudget,
}

impl Events {
    /// The initial state.
    pub fn new(budget: EventBudget) -> Self {
        Self {
            notes: Default::default(),
            fell_back: Default::default(),
            machines: [0, 1],
            next_machine: 2,
            orphans: [None; REPLICAS],
            received: Default::default(),
            target_is_up: true,
            age: 0,
            budget,
        }
    }

    /// The note of an event.
    pub fn note(
        &self,
        replica: ReplicaNumber,
        request: RequestNumber,
        event: EventType,
    ) -> Option<Note> {
        self.notes[replica][request][event as usize]
    }

    /// Whether a note of `committed` or `synced` exists.
    pub fn has_final_note(&self, replica: ReplicaNumber, request: RequestNumber) -> bool {
        [EventType::Committed, EventType::Synced]
            .into_iter()
            .any(|event| self.note(replica, request, event).is_some())
    }

    /// All notes.
    pub fn all_notes(
        &self,
    ) -> impl Iterator<Item = (ReplicaNumber, RequestNumber, EventType, Note)> + '_ {
        self.notes.iter().enumerate().flat_map(|(replica, requests)| {
            requests.iter().enumerate().flat_map(move |(request, notes)| {
                EventType::ALL.into_iter().zip(notes).filter_map(move |(event, note)| {
                    note.map(|note| (replica, request, event, note))
                })
            })
        })
    }

    /// Records a delivery.
    pub(crate) fn deliver(&mut self, request: RequestNumber, event: EventType, reasons: u8) {
        let received = &mut self.received[request];
        let is_first = received.deliveries[event as usize] == 0;
        let has = |event: EventType| received.deliveries[event as usize] > 0;
        let (has_committed, has_synced) = (has(EventType::Committed), has(EventType::Synced));
        match event {
            EventType::FellBack if is_first => {
                received.synced_was_first |= has_synced;
                received.fell_back_is_last = has_committed || has_synced;
            }
            EventType::Committed | EventType::Synced => received.fell_back_is_last = false,
            EventType::FellBack | EventType::Failed => {}
        }
        received.deliveries[event as usize] += 1;
        received.reasons_to_repeat[event as usize] += reasons;
    }

    /// Whether a process knows something that a crash removes.
    pub(crate) fn has_memory(&self, replica: ReplicaNumber) -> bool {
        self.orphans[replica].is_some()
            || self.all_notes().any(|(host, .., note)| host == replica && note.is_in_memory())
    }

    /// Adds a reason to repeat each delivery that was answered and not recorded.
    pub(crate) fn forget_answers(&mut self, replica: ReplicaNumber) {
        for request in 0..REQUESTS {
            for event in EventType::ALL {
                if self.note(replica, request, event).is_some_and(Note::is_answered) {
                    self.received[request].reasons_to_repeat[event as usize] += 1;
                }
            }
        }
        if let Some(Orphan { id, request, is_answered: true }) = self.orphans[replica] {
            self.received[request].reasons_to_repeat[id.event as usize] += 1;
        }
    }

    /// A process ends: its notes are what is on disk.
    pub(crate) fn crash(&mut self, replica: ReplicaNumber) {
        self.forget_answers(replica);
        self.orphans[replica] = None;
        for note in self.notes[replica].iter_mut().flatten().flatten() {
            *note = match *note {
                Note::Forgotten => Note::Delivered,
                other if other.is_in_memory() => Note::Pending,
                other => other,
            };
        }
    }

    /// A machine is lost with its notes. After its own `fell_back`, nothing is promised.
    pub(crate) fn lose_machine(&mut self, replica: ReplicaNumber) {
        self.forget_answers(replica);
        for request in 0..REQUESTS {
            if self.note(replica, request, EventType::FellBack).is_some() {
                self.received[request].fell_back_is_last = false;
            }
        }
        self.orphans[replica] = None;
        self.notes[replica] = Default::default();
        self.fell_back[replica] = Default::default();
        self.replace_machine(replica);
    }

    /// Gives a replica a new machine.
    pub(crate) fn replace_machine(&mut self, replica: ReplicaNumber) {
        self.machines[replica] = self.next_machine;
        self.next_machine += 1;
    }
}

impl Protocol {
    /// The id of a request's event. The id of a derived export contains its content, too, so that
    /// this model uses the caller's id for all events.
    pub(crate) fn event_id(&self, request: RequestNumber, event: EventType) -> EventId {
        let is_in_id = self.mechanisms.event_id_has_digest
            || matches!(event, EventType::Committed | EventType::Synced);
        let content = if is_in_id { self.request(request).content } else { 0 };
        EventId { export: self.plain_id(request), content, event }
    }

    /// The claim of an event: its owner, and how often `TAKEOVER_AGE` has passed since.
    pub(crate) fn event_claim(&self, state: &State, id: EventId) -> Option<(Machine, u8)> {
        let events = state.events.as_deref()?;
        match state.s3[JOURNAL_STORE].get(Key::Event(id))? {
            Value::Event { owner, age, .. } => Some((owner, events.age - age)),
            _ => None,
        }
    }

    /// Whether an event has `.done`.
    pub(crate) fn is_done(&self, state: &State, id: EventId) -> bool {
        state.s3[JOURNAL_STORE].get(Key::EventDone(id)).is_some()
    }

    /// Puts a claim if there is none; returns whether the event belongs to the replica's machine.
    pub(crate) fn claim_event(
        &self,
        state: &mut State,
        replica: ReplicaNumber,
        request: RequestNumber,
        event: EventType,
    ) -> Note {
        let Some((key, claim)) = self.claim_of_event(state, replica, request, event) else {
            return Note::Claimed;
        };
        state.s3[JOURNAL_STORE].put_if_absent(key, claim);
        let id = self.event_id(request, event);
        let is_own = self.event_claim(state, id).map(|(owner, _)| Some(owner))
            == Some(state.events.as_deref().map(|events| events.machines[replica]));
        if is_own { Note::Claimed } else { Note::Yielded }
    }

    /// The claim that a replica puts; `None` if claims are disabled. The claim of `synced` names
    /// the owner of `fell_back`, which has the local bundle and is the one to deliver both.
    pub(crate) fn claim_of_event(
        &self,
        state: &State,
        replica: ReplicaNumber,
        request: RequestNumber,
        event: EventType,
    ) -> Option<(Key, Value)> {
        let events = state.events.as_deref().filter(|_| self.mechanisms.event_claim)?;
        let first = self.event_claim(state, self.event_id(request, EventType::FellBack));
        let owner = match first {
            Some((owner, _))
                if event == EventType::Synced && self.mechanisms.synced_has_owner_of_fell_back =>
            {
                owner
            }
            _ => events.machines[replica],
        };
        let id = self.event_id(request, event);
        Some((Key::Event(id), Value::Event { owner, request, age: events.age }))
    }
}
