//! The invariants about events.

use crate::{
    events::{EVENT_TYPES, EventType, Events, Note},
    invariants::{Invariant, bundles_of, has_entry, is_marked_failed, pairs, requests},
    names::{ReplicaNumber, RequestNumber},
    protocol::Protocol,
    state::{REPLICAS, State},
    store::{Key, Value},
    takeover::JOURNAL_STORE,
};

/// An export that ended has an event that was delivered, or a note or a claim from which it is
/// delivered. The same is true of a local bundle and `fell_back` when its export ends.
pub const NO_EVENT_IS_LOST: &str = "no event is lost";
/// A target gets an event again only if an answer was lost, S3 did not respond to a claim or to
/// `.done`, or a process or machine ended between the answer and its record.
pub const REPEATED_FOR_A_REASON: &str = "an event is repeated only for a reason";
/// A machine that wrote a note of `failed` never commits the export.
pub const FAILED_EVENT_IS_FINAL: &str = "a failed event is final";
/// A target gets `fell_back` before `synced`.
pub const FELL_BACK_PRECEDES_SYNCED: &str = "fell_back precedes synced";
/// If no work remains, `fell_back` is not the last event of a committed export, unless the machine
/// that fell back was lost after it.
pub const FELL_BACK_IS_NOT_LAST: &str = "fell_back is not the last event";
/// A machine has one of `committed`, `synced` and `failed` for an export.
pub const ONE_FINAL_EVENT: &str = "a machine has one final event";
/// While S3 and the target respond, every note that is not delivered has a next step, or waits for
/// `fell_back` or for the next slot.
pub const NO_EVENT_IS_STUCK: &str = "no event is stuck";

/// All invariants of this module.
pub(crate) fn all() -> Vec<Invariant> {
    let invariant = |name, is_satisfied| Invariant { name, is_satisfied };
    vec![
        invariant(NO_EVENT_IS_LOST, no_event_is_lost),
        invariant(REPEATED_FOR_A_REASON, |_, state| {
            received(state).all(|received| {
                (0..EVENT_TYPES).all(|event| {
                    received.deliveries[event] <= 1 + received.reasons_to_repeat[event]
                })
            })
        }),
        invariant(FAILED_EVENT_IS_FINAL, failed_event_is_final),
        invariant(FELL_BACK_PRECEDES_SYNCED, |_, state| {
            received(state).all(|received| !received.synced_was_first)
        }),
        invariant(FELL_BACK_IS_NOT_LAST, fell_back_is_not_last),
        invariant(ONE_FINAL_EVENT, one_final_event),
        invariant(NO_EVENT_IS_STUCK, no_event_is_stuck),
    ]
}

fn received(state: &State) -> impl Iterator<Item = &crate::events::Received> {
    state.events.as_deref().into_iter().flat_map(|events| events.received.iter())
}

/// Whether one of these events was delivered, or will be.
fn is_safe(
    protocol: &Protocol,
    state: &State,
    events: &Events,
    request: RequestNumber,
    types: &[EventType],
) -> bool {
    let is_claimed = |event| {
        let key = Key::Event(protocol.event_id(request, event));
        let claim = state.s3[JOURNAL_STORE].get(key);
        protocol.scenario.journal_in_store
            && matches!(claim, Some(Value::Event { request: theirs, .. }) if theirs == request)
    };
    let is_noted = |event| {
        (0..REPLICAS).any(|replica| {
            events.note(replica, request, event).is_some_and(|note| note != Note::Yielded)
        })
    };
    types.iter().any(|&event| {
        events.received[request].deliveries[event as usize] > 0
            || is_noted(event)
            || is_claimed(event)
    })
}

fn no_event_is_lost(protocol: &Protocol, state: &State) -> bool {
    let Some(events) = state.events.as_deref() else { return true };
    let is_unfinished = |request: RequestNumber| {
        state
            .replicas
            .iter()
            .any(|host| host.disk.journal[request].is_some() || host.runs[request].is_some())
            || has_entry(protocol, state, request)
    };
    pairs(protocol).all(|(request, replica)| {
        let reported = &state.reported[request];
        let has_ended = (reported.accepted[replica] || reported.accepted_in_store)
            && !is_unfinished(request)
            && !is_marked_failed(protocol, state, request);
        let fell_back_is_due = events.fell_back[replica][request] && !is_unfinished(request);
        (!has_ended || is_safe(protocol, state, events, request, &EventType::LAST))
            && (!fell_back_is_due
                || is_safe(protocol, state, events, request, &[EventType::FellBack]))
    })
}

fn failed_event_is_final(protocol: &Protocol, state: &State) -> bool {
    let Some(events) = state.events.as_deref() else { return true };
    pairs(protocol).all(|(request, replica)| {
        events.note(replica, request, EventType::Failed).is_none()
            || state
                .s3
                .iter()
                .flat_map(|s3| bundles_of(protocol, s3, request))
                .all(|bundle| bundle.put_by != replica)
    })
}

fn one_final_event(protocol: &Protocol, state: &State) -> bool {
    let Some(events) = state.events.as_deref() else { return true };
    pairs(protocol).all(|(request, replica)| {
        let has = |event: &EventType| events.note(replica, request, *event).is_some();
        EventType::LAST.iter().filter(|event| has(event)).count() <= 1
    })
}

/// Whether no work remains, on exports or on events.
fn is_quiet(protocol: &Protocol, state: &State, events: &Events) -> bool {
    let is_taken_over = |replica: ReplicaNumber| {
        state.s3_of(replica).iter().any(|(key, _)| {
            protocol.may_take_over(state, replica, key) || protocol.may_settle(state, replica, key)
        })
    };
    let is_claimed =
        || protocol.scenario.journal_in_store && protocol.open_claims(state).next().is_some();
    state.is_quiet()
        && events.target_is_up
        && events.all_notes().all(|(.., note)| note.is_finished())
        && events.orphans.iter().all(Option::is_none)
        && !is_claimed()
        && !(0..REPLICAS).any(is_taken_over)
}

fn fell_back_is_not_last(protocol: &Protocol, state: &State) -> bool {
    let Some(events) = state.events.as_deref() else { return true };
    requests(protocol).all(|request| !events.received[request].fell_back_is_last)
        || !is_quiet(protocol, state, events)
}

fn no_event_is_stuck(protocol: &Protocol, state: &State) -> bool {
    let Some(events) = state.events.as_deref() else { return true };
    let has_other_slot = |request, event| {
        let id = protocol.event_id(request, event);
        protocol.scenario.journal_in_store
            && protocol.event_claim(state, id).is_some_and(|(_, age)| age > 0)
    };
    !state.s3_is_up
        || !events.target_is_up
        || events.all_notes().all(|(replica, request, event, note)| {
            let is_first_finished =
                events.note(replica, request, EventType::FellBack).is_none_or(Note::is_finished);
            note.is_finished()
                || !protocol.note_steps(state, (replica, request, event), note).is_empty()
                || (event == EventType::Synced && !is_first_finished)
                || has_other_slot(request, event)
        })
}
