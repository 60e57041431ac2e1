//! Steps 19 and 20: claims and deliveries of events, and orphans.

use crate::{
    actions::{Action, DeliveryStep},
    events::{EventId, EventType, Events, Note, Orphan},
    names::{ReplicaNumber, RequestNumber},
    protocol::Protocol,
    state::{REPLICAS, State},
    store::{Key, Value},
    takeover::JOURNAL_STORE,
};

/// The actions of dispatchers and targets.
impl Protocol {
    pub(crate) fn event_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Some(events) = state.events.as_deref() else { return };
        let before = actions.len();
        for (replica, request, event, note) in events.all_notes() {
            for step in self.note_steps(state, (replica, request, event), note) {
                actions.push(Action::Deliver { replica, request, event, step });
            }
        }
        for replica in 0..REPLICAS {
            for step in self.orphan_steps(state, replica) {
                actions.push(Action::DeliverOrphan { replica, step });
            }
        }
        let is_idle = actions.len() == before;
        for replica in 0..REPLICAS {
            self.orphan_actions(state, replica, actions);
        }
        let has_open_claim = || self.open_claims(state).next().is_some();
        if is_idle && events.budget.ages > 0 && self.scenario.journal_in_store && has_open_claim() {
            actions.push(Action::Age);
        }
        match events.target_is_up {
            true if events.budget.target_outages > 0 => actions.push(Action::TargetFails),
            true => {}
            false => actions.push(Action::TargetReturns),
        }
    }

    /// The claims without `.done`.
    pub(crate) fn open_claims<'a>(
        &'a self,
        state: &'a State,
    ) -> impl Iterator<Item = (EventId, RequestNumber)> + 'a {
        state.s3[JOURNAL_STORE].iter().filter_map(|(key, value)| match (key, value) {
            (Key::Event(id), Value::Event { request, .. }) if !self.is_done(state, id) => {
                Some((id, request))
            }
            _ => None,
        })
    }

    fn orphan_actions(&self, state: &State, replica: ReplicaNumber, actions: &mut Vec<Action>) {
        let Some(events) = state.events.as_deref() else { return };
        if !self.scenario.journal_in_store || !state.s3_is_up || events.orphans[replica].is_some() {
            return;
        }
        for (id, request) in self.open_claims(state) {
            let Some((owner, age)) = self.event_claim(state, id) else { continue };
            let is_tried = state.s3[JOURNAL_STORE].get(Key::EventTry(id, age)).is_some();
            let first = self.event_id(request, EventType::FellBack);
            let waits = self.mechanisms.orphan_synced_waits_for_done
                && id.event == EventType::Synced
                && self.event_claim(state, first).is_some()
                && !self.is_done(state, first);
            if age > 0 && owner != events.machines[replica] && !is_tried && !waits {
                actions.push(Action::TryOrphan { replica, id });
            }
        }
    }

    /// Whether a note of `fell_back` on the same machine must be finished first.
    fn waits_for_fell_back(
        &self,
        events: &Events,
        (replica, request, event): (ReplicaNumber, RequestNumber, EventType),
    ) -> bool {
        self.mechanisms.synced_waits_for_fell_back
            && event == EventType::Synced
            && events
                .note(replica, request, EventType::FellBack)
                .is_some_and(|note| !note.is_finished())
    }

    /// The steps that a note's dispatcher can execute now.
    pub(crate) fn note_steps(
        &self,
        state: &State,
        at: (ReplicaNumber, RequestNumber, EventType),
        note: Note,
    ) -> Vec<DeliveryStep> {
        let Some(events) = state.events.as_deref() else { return Vec::new() };
        let waits = self.waits_for_fell_back(events, at);
        match note {
            Note::Settled => vec![DeliveryStep::Rename],
            Note::Pending if waits => Vec::new(),
            Note::Pending if state.s3_is_up => {
                let may_be_late = events.budget.late_claims > 0 && self.mechanisms.event_claim;
                let late = may_be_late.then_some(DeliveryStep::DelayClaim);
                [DeliveryStep::Claim].into_iter().chain(late).collect()
            }
            Note::Pending => vec![DeliveryStep::SkipClaim],
            Note::Claimed | Note::Unclaimed if waits => Vec::new(),
            Note::Claimed => self.claimed_steps(state, events, at),
            Note::Unclaimed => delivery_steps(events),
            Note::Answered => self.answered_steps(state),
            Note::Acknowledged => vec![DeliveryStep::Forget],
            Note::Forgotten if state.s3_is_up => vec![DeliveryStep::PutDone],
            Note::Forgotten | Note::Delivered | Note::Yielded => Vec::new(),
        }
    }

    /// With `JOURNAL=store`, the owner of an old event needs the current slot, as all others.
    fn claimed_steps(
        &self,
        state: &State,
        events: &Events,
        (replica, request, event): (ReplicaNumber, RequestNumber, EventType),
    ) -> Vec<DeliveryStep> {
        let id = self.event_id(request, event);
        let age = self.event_claim(state, id).map_or(0, |(_, age)| age);
        if age == 0 || !self.scenario.journal_in_store || !self.mechanisms.owner_takes_slot {
            return delivery_steps(events);
        }
        let slot = state.s3[JOURNAL_STORE].get(Key::EventTry(id, age));
        match slot {
            _ if !state.s3_is_up => Vec::new(),
            _ if self.is_done(state, id) => vec![DeliveryStep::FindDone],
            None => vec![DeliveryStep::TakeSlot],
            Some(Value::Tried(machine)) if machine == events.machines[replica] => {
                delivery_steps(events)
            }
            Some(_) => Vec::new(),
        }
    }

    fn answered_steps(&self, state: &State) -> Vec<DeliveryStep> {
        let needs_done = self.scenario.journal_in_store && self.mechanisms.done_before_forget;
        match (needs_done, state.s3_is_up) {
            (false, _) => vec![DeliveryStep::Forget],
            (true, true) => vec![DeliveryStep::PutDone],
            (true, false) => Vec::new(),
        }
    }

    /// Whether an orphan is a `fell_back` whose bundle is in S3 now.
    fn is_stale(&self, state: &State, orphan: Orphan) -> bool {
        self.mechanisms.stale_fell_back_is_dropped
            && orphan.id.event == EventType::FellBack
            && crate::invariants::is_in_s3(self, state, orphan.request)
    }

    fn orphan_steps(&self, state: &State, replica: ReplicaNumber) -> Vec<DeliveryStep> {
        let Some(events) = state.events.as_deref() else { return Vec::new() };
        match events.orphans[replica] {
            Some(orphan) if orphan.is_answered || self.is_stale(state, orphan) => {
                state.s3_is_up.then_some(DeliveryStep::PutDone).into_iter().collect()
            }
            Some(_) => delivery_steps(events),
            None => Vec::new(),
        }
    }
}

/// A delivery, if the target responds.
fn delivery_steps(events: &Events) -> Vec<DeliveryStep> {
    let lost = (events.budget.lost_answers > 0).then_some(DeliveryStep::LoseAnswer);
    let steps = [DeliveryStep::Deliver].into_iter().chain(lost);
    if events.target_is_up { steps.collect() } else { Vec::new() }
}

/// The states after these actions.
impl Protocol {
    /// Applies an action of a dispatcher or a target; `None` if it changes nothing.
    pub(crate) fn apply_event_action(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Deliver { replica, request, event, step } => {
                self.apply_delivery(state, (replica, request, event), step)
            }
            Action::TryOrphan { replica, id } => self.try_orphan(state, replica, id),
            Action::DeliverOrphan { replica, step } => self.apply_orphan_step(state, replica, step),
            Action::Age => self.age(state),
            Action::TargetFails => {
                let events = state.events.as_deref_mut()?;
                events.budget.target_outages -= 1;
                events.target_is_up = false;
                Some(())
            }
            Action::TargetReturns => {
                state.events.as_deref_mut()?.target_is_up = true;
                Some(())
            }
            _ => None,
        }
    }

    fn apply_delivery(
        &self,
        state: &mut State,
        at: (ReplicaNumber, RequestNumber, EventType),
        step: DeliveryStep,
    ) -> Option<()> {
        let (replica, request, event) = at;
        let id = self.event_id(request, event);
        let events = state.events.as_deref()?;
        let (machine, note) = (events.machines[replica], events.note(replica, request, event)?);
        let unclaimed = u8::from(note == Note::Unclaimed);
        let next = match step {
            DeliveryStep::Rename => Note::Pending,
            DeliveryStep::Claim => self.claim_event(state, replica, request, event),
            DeliveryStep::DelayClaim => {
                let (key, value) = self.claim_of_event(state, replica, request, event)?;
                state.events.as_deref_mut()?.budget.late_claims -= 1;
                state.late.push((JOURNAL_STORE, key, value));
                state.late.sort_unstable();
                Note::Unclaimed
            }
            DeliveryStep::SkipClaim => Note::Unclaimed,
            DeliveryStep::TakeSlot => {
                self.take_slot(state, id, machine);
                note
            }
            DeliveryStep::FindDone => Note::Delivered,
            DeliveryStep::Deliver => {
                state.events.as_deref_mut()?.deliver(request, event, unclaimed);
                Note::Answered
            }
            DeliveryStep::LoseAnswer => {
                let events = state.events.as_deref_mut()?;
                events.budget.lost_answers -= 1;
                events.deliver(request, event, 1 + unclaimed);
                note
            }
            DeliveryStep::PutDone => {
                state.s3[JOURNAL_STORE].put_if_absent(Key::EventDone(id), Value::Done);
                if note == Note::Forgotten { Note::Delivered } else { Note::Acknowledged }
            }
            DeliveryStep::Forget if note == Note::Answered && self.scenario.journal_in_store => {
                Note::Forgotten
            }
            DeliveryStep::Forget => Note::Delivered,
        };
        state.events.as_deref_mut()?.notes[replica][request][event as usize] = Some(next);
        Some(())
    }

    fn take_slot(&self, state: &mut State, id: EventId, machine: u8) {
        if let Some((_, age)) = self.event_claim(state, id) {
            state.s3[JOURNAL_STORE].put_if_absent(Key::EventTry(id, age), Value::Tried(machine));
        }
    }

    fn try_orphan(&self, state: &mut State, replica: ReplicaNumber, id: EventId) -> Option<()> {
        let Some(Value::Event { request, .. }) = state.s3[JOURNAL_STORE].get(Key::Event(id)) else {
            return None;
        };
        let machine = state.events.as_deref()?.machines[replica];
        self.take_slot(state, id, machine);
        state.events.as_deref_mut()?.orphans[replica] =
            Some(Orphan { id, request, is_answered: false });
        Some(())
    }

    fn apply_orphan_step(
        &self,
        state: &mut State,
        replica: ReplicaNumber,
        step: DeliveryStep,
    ) -> Option<()> {
        let events = state.events.as_deref_mut()?;
        let orphan = events.orphans[replica]?;
        match step {
            DeliveryStep::Deliver => {
                events.deliver(orphan.request, orphan.id.event, 0);
                events.orphans[replica] = Some(Orphan { is_answered: true, ..orphan });
            }
            DeliveryStep::LoseAnswer => {
                events.budget.lost_answers -= 1;
                events.deliver(orphan.request, orphan.id.event, 1);
            }
            _ => {
                events.orphans[replica] = None;
                state.s3[JOURNAL_STORE].put_if_absent(Key::EventDone(orphan.id), Value::Done);
            }
        }
        Some(())
    }

    /// `TAKEOVER_AGE` passes: longer than every step that can be executed, so that an answer
    /// without `.done` is one that S3 did not take.
    fn age(&self, state: &mut State) -> Option<()> {
        let events = state.events.as_deref_mut()?;
        events.budget.ages -= 1;
        events.age += 1;
        for replica in 0..REPLICAS {
            events.forget_answers(replica);
        }
        Some(())
    }
}
