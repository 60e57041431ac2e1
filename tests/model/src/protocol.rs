//! The protocol as the checker uses it: the actions of a state, and the state after each.

use stateright::{Model, Property};

use crate::{
    actions::{Action, Operation},
    events::Events,
    invariants,
    mechanisms::Mechanisms,
    names::{Digest, ExportId, ReplicaNumber, RequestNumber, StoreNumber, Version},
    scenarios::{Request, Scenario},
    state::{
        Disk, LOCATIONS, REPLICAS, REQUESTS, Replica, Reported, Run, STORES, Stage, State, Target,
    },
    store::{Key, PutOutcome, Value},
    takeover::JOURNAL_STORE,
};

/// The protocol in one scenario, with some mechanisms enabled.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The requests and the possible faults.
    pub scenario: Scenario,
    /// The enabled mechanisms.
    pub mechanisms: Mechanisms,
}

/// One replica's work on one request.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) protocol: &'a Protocol,
    pub(crate) replica: ReplicaNumber,
    pub(crate) request: RequestNumber,
}

/// One step of one replica for one request, with the state that it changes.
pub(crate) struct Transition<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) state: State,
}

impl Context<'_> {
    pub(crate) fn put_to_s3(self, state: &mut State, key: Key, value: Value) -> PutOutcome {
        self.protocol.put_to_s3(state, state.store_of(self.replica), key, value)
    }
}

impl Protocol {
    pub(crate) fn request(&self, request: RequestNumber) -> &Request {
        &self.scenario.requests[request]
    }

    /// The digest of a request's content in a version's encoding.
    pub(crate) fn digest(&self, request: RequestNumber, encoding: Version) -> Digest {
        Digest { content: self.request(request).content, encoding }
    }

    /// The id from the caller.
    pub(crate) fn plain_id(&self, request: RequestNumber) -> ExportId {
        ExportId { request_id: self.request(request).id, derived_from: None }
    }

    /// Whether the scenario may send a request to a replica.
    pub(crate) fn is_used(&self, replica: ReplicaNumber) -> bool {
        self.scenario.routes.iter().any(|(_, used)| *used == replica)
    }

    /// Whether two requests have the same id.
    pub(crate) fn share_id(&self, one: RequestNumber, other: RequestNumber) -> bool {
        self.request(one).id == self.request(other).id
    }

    fn transition(
        &self,
        state: &State,
        replica: ReplicaNumber,
        request: RequestNumber,
    ) -> Transition<'_> {
        Transition { context: self.context(replica, request), state: state.clone() }
    }

    pub(crate) fn context(&self, replica: ReplicaNumber, request: RequestNumber) -> Context<'_> {
        Context { protocol: self, replica, request }
    }

    fn run_actions(
        &self,
        state: &State,
        run: &Run,
        (replica, request): (ReplicaNumber, RequestNumber),
        actions: &mut Vec<Action>,
    ) {
        let context = self.context(replica, request);
        for operation in context.operations(state, run) {
            actions.push(Action::Step { replica, request, operation });
            let Some((key, _)) = context
                .put_of(run, operation)
                .filter(|_| context.may_put_to_s3(state, run, operation))
            else {
                continue;
            };
            if state.s3_of(replica).get(key).is_none() {
                if state.budget.lost_responses > 0 {
                    actions.push(Action::LoseResponse { replica, request, operation });
                }
                if state.budget.late_puts > 0 {
                    actions.push(Action::DelayPut { replica, request, operation });
                }
                if state.budget.hedged_puts > 0 {
                    actions.extend([false, true].map(|finds_own| Action::HedgePut {
                        replica,
                        request,
                        operation,
                        finds_own,
                    }));
                }
            }
        }
        if context.may_accept_unclaimed(state, run) {
            actions.push(Action::AcceptUnclaimed { replica, request });
        }
        if context.may_lose_source(state, run) {
            actions.push(Action::LoseSource { replica, request });
        }
        if context.may_stop_retrying(state, run) {
            actions.push(Action::StopRetrying { replica, request });
        }
        if context.may_miss_document(state, run) {
            actions.push(Action::MissDocument { replica, request });
        }
    }

    /// The operations of a run's stage, whatever store its entry belongs to. With events, parallel
    /// operations have one order: scenarios without events have all.
    pub(crate) fn stage_operations(&self, state: &State, run: &Run) -> Vec<Operation> {
        let mut operations = self.parallel_operations(state, run);
        if state.events.is_some() {
            operations.truncate(1);
        }
        operations
    }

    fn parallel_operations(&self, state: &State, run: &Run) -> Vec<Operation> {
        let reachable = |target| target == Target::Local || state.s3_is_up;
        match run.stage {
            Stage::Claim(claim) if reachable(claim.target) => self.claim_operations(&claim),
            Stage::Artifacts { target, artifacts_left, index_left, .. } if reachable(target) => {
                crate::write::artifact_operations(artifacts_left, index_left)
            }
            Stage::Manifest { target, .. } if reachable(target) => vec![Operation::PutManifest],
            Stage::NoteFellBack => vec![Operation::NoteFellBack],
            Stage::EndFailed { .. } => vec![Operation::EndFailed],
            Stage::StoredLocally if state.s3_is_up => vec![Operation::Sync],
            Stage::Verify { .. } if state.s3_is_up => vec![Operation::Verify],
            Stage::Delete { next } if state.s3_is_up || !self.deletion_needs_s3(next) => {
                vec![Operation::Delete]
            }
            Stage::Fail { end_marker_left, failure_record_left } => {
                self.fail_operations(state, end_marker_left, failure_record_left)
            }
            _ => Vec::new(),
        }
    }

    fn environment_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.s3_is_up {
            actions.extend((0..state.late.len()).map(|index| Action::ApplyLatePut { index }));
            if state.budget.outages > 0 {
                actions.push(Action::S3Fails);
            }
            if state.budget.removals > 0 {
                actions.push(Action::RemoveDocument);
            }
            if self.may_swap_silently(state) {
                actions.push(Action::SwapSilently);
            }
        } else {
            actions.push(Action::S3Returns);
            if state.budget.swaps > 0 {
                actions.push(Action::Swap);
            }
        }
        for replica in 0..REPLICAS {
            let host = &state.replicas[replica];
            let has_events =
                state.events.as_deref().is_some_and(|events| events.has_memory(replica));
            let is_idle =
                host.runs.iter().all(Option::is_none) && host.confirmed.is_none() && !has_events;
            if state.budget.crashes > 0 && !is_idle {
                actions.push(Action::Crash(replica));
            }
            if state.budget.upgrades > 0
                && state.replicas[replica].release == 1
                && self.is_used(replica)
            {
                actions.push(Action::Upgrade(replica));
            }
            // With events only the first machine, so that there are fewer states.
            if state.budget.machine_losses > 0 && (state.events.is_none() || replica == 0) {
                actions.push(Action::LoseMachine(replica));
            }
            self.identity_actions(state, replica, actions);
        }
    }

    fn apply_late_put(&self, state: &mut State, index: usize) {
        let (store, key, value) = state.late.remove(index);
        self.put_to_s3(state, store, key, value);
    }

    fn put_to_s3(
        &self,
        state: &mut State,
        store: StoreNumber,
        key: Key,
        value: Value,
    ) -> PutOutcome {
        if self.mechanisms.put_if_absent {
            return state.s3[store].put_if_absent(key, value);
        }
        state.overwritten |= state.s3[store].put_unconditionally(key, value);
        PutOutcome::Created
    }

    /// The state after an action; `None` if the action changes nothing.
    fn apply(&self, last: &State, action: Action) -> Option<State> {
        match action {
            Action::Send { replica, request } => self.transition(last, replica, request).send(),
            Action::AcceptUnclaimed { replica, request } => {
                self.transition(last, replica, request).accept_unclaimed()
            }
            Action::Step { replica, request, operation } => {
                self.transition(last, replica, request).step(operation)
            }
            Action::LoseResponse { replica, request, operation } => {
                self.transition(last, replica, request).lose_response(operation)
            }
            Action::DelayPut { replica, request, operation } => {
                self.transition(last, replica, request).delay_put(operation)
            }
            Action::HedgePut { replica, request, operation, finds_own } => {
                self.transition(last, replica, request).hedge_put(operation, finds_own)
            }
            Action::StopRetrying { replica, request } => {
                self.transition(last, replica, request).stop_retrying()
            }
            Action::TakeOver { replica, entry } => self.take_over(last, replica, entry),
            Action::SettleEntry { replica, entry } => self.settle_entry(last, replica, entry),
            Action::Deliver { .. }
            | Action::TryOrphan { .. }
            | Action::DeliverOrphan { .. }
            | Action::Age
            | Action::TargetFails
            | Action::TargetReturns => {
                let mut state = last.clone();
                self.apply_event_action(&mut state, action)?;
                Some(state)
            }
            Action::MissDocument { replica, request } => {
                self.transition(last, replica, request).document_falsely_not_found()
            }
            Action::LoseSource { replica, request } => {
                self.transition(last, replica, request).lose_source()
            }
            _ => {
                let mut state = last.clone();
                self.apply_environment_action(&mut state, action);
                Some(state)
            }
        }
    }

    /// Applies an action that is not an operation of a run.
    fn apply_environment_action(&self, state: &mut State, action: Action) {
        match action {
            Action::ApplyLatePut { index } => self.apply_late_put(state, index),
            Action::EndEntry { entry } => self.end_entry(state, entry, false),
            Action::Crash(replica) => {
                state.budget.crashes -= 1;
                self.restart(state, replica);
            }
            Action::Upgrade(replica) => {
                state.budget.upgrades -= 1;
                state.replicas[replica].release += 1;
                self.restart(state, replica);
            }
            Action::LoseMachine(replica) => {
                state.budget.machine_losses -= 1;
                self.lose_machine(state, replica);
            }
            Action::S3Fails => {
                state.budget.outages -= 1;
                state.s3_is_up = false;
                self.require_identity_again(state);
            }
            Action::Identify(replica) => self.identify(state, replica),
            Action::Configure(replica) => {
                state.budget.reconfigurations -= 1;
                let host = &mut state.replicas[replica];
                host.location = LOCATIONS - 1 - host.location;
                self.restart(state, replica);
            }
            Action::Swap => {
                state.budget.swaps -= 1;
                state.store_at[0] = STORES - 1 - state.store_at[0];
            }
            Action::SwapSilently => {
                state.budget.silent_swaps -= 1;
                state.store_at[0] = STORES - 1 - state.store_at[0];
            }
            Action::RemoveDocument => {
                state.budget.removals -= 1;
                state.s3[0].remove(Key::Document);
            }
            Action::S3Returns => state.s3_is_up = true,
            _ => {}
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = |number: usize| Replica {
            release: self.scenario.releases[number],
            location: self.scenario.locations[number],
            confirmed: None,
            disk: Disk::default(),
            runs: [const { None }; REQUESTS],
        };
        vec![State {
            s3: self.scenario.initial_objects(),
            store_at: [0, 1],
            s3_is_up: !self.scenario.starts_in_outage,
            late: Vec::new(),
            replicas: [replica(0), replica(1)],
            reported: [Reported::default(); REQUESTS],
            clock: 0,
            budget: self.scenario.budget,
            overwritten: false,
            next_store_id: 2,
            decided_by_other_store: false,
            events: self.scenario.events.map(|budget| Box::new(Events::new(budget))),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for &(request, replica) in &self.scenario.routes {
            let is_mirrored = self.scenario.is_symmetric && state.clock == 0 && replica > 0;
            if !is_mirrored && self.may_send(state, replica, request) {
                actions.push(Action::Send { replica, request });
            }
        }
        for (replica, host) in state.replicas.iter().enumerate() {
            for (request, run) in host.runs.iter().enumerate() {
                if let Some(run) = run {
                    self.run_actions(state, run, (replica, request), actions);
                }
            }
            let entries = state
                .s3_of(replica)
                .iter()
                .filter(|(key, _)| self.may_take_over(state, replica, *key));
            actions.extend(entries.map(|(entry, _)| Action::TakeOver { replica, entry }));
            if state.events.is_some() {
                let committed = state.s3[JOURNAL_STORE]
                    .iter()
                    .filter(|(key, _)| self.may_settle(state, replica, *key));
                actions.extend(committed.map(|(entry, _)| Action::SettleEntry { replica, entry }));
            }
        }
        let ended = state.s3[JOURNAL_STORE]
            .iter()
            .filter(|(key, _)| self.may_end(state, *key) && !self.needs_note(state, *key));
        actions.extend(ended.map(|(entry, _)| Action::EndEntry { entry }));
        self.event_actions(state, actions);
        self.environment_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.apply(last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
