//! The whole as the checker sees it: which actions there are in a state, and what each leads to.

use stateright::{Model, Property};

use crate::{
    actions::{Action, Part},
    invariants,
    mechanisms::Mechanisms,
    names::{Digest, ExportId, ReplicaNumber, RequestNumber, Version},
    scenarios::{Request, Scenario},
    state::{Disk, Place, REPLICAS, REQUESTS, Replica, Run, Stage, State, Told},
    store::{Key, PutOutcome, Value},
};

/// The protocol in one scenario, with some mechanisms in force.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// What is sent, and what strikes.
    pub scenario: Scenario,
    /// What is in force.
    pub mechanisms: Mechanisms,
}

/// Who works on what.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) protocol: &'a Protocol,
    pub(crate) replica: ReplicaNumber,
    pub(crate) request: RequestNumber,
}

/// One step of one replica for one request, while it is taken.
pub(crate) struct Turn<'a> {
    pub(crate) desk: Desk<'a>,
    pub(crate) state: State,
}

impl Protocol {
    pub(crate) fn request(&self, request: RequestNumber) -> &Request {
        &self.scenario.requests[request]
    }

    /// The digest of a request's content in a version's encoding.
    pub(crate) fn digest(&self, request: RequestNumber, encoding: Version) -> Digest {
        Digest { content: self.request(request).content, encoding }
    }

    /// The id that the caller gave.
    pub(crate) fn plain_id(&self, request: RequestNumber) -> ExportId {
        ExportId { request_id: self.request(request).id, derived_from: None }
    }

    /// Whether two requests have one id.
    pub(crate) fn share_id(&self, one: RequestNumber, other: RequestNumber) -> bool {
        self.request(one).id == self.request(other).id
    }

    fn turn(&self, state: &State, replica: ReplicaNumber, request: RequestNumber) -> Turn<'_> {
        Turn { desk: self.desk(replica, request), state: state.clone() }
    }

    fn desk(&self, replica: ReplicaNumber, request: RequestNumber) -> Desk<'_> {
        Desk { protocol: self, replica, request }
    }

    fn run_actions(
        &self,
        state: &State,
        run: &Run,
        (replica, request): (ReplicaNumber, RequestNumber),
        actions: &mut Vec<Action>,
    ) {
        let desk = self.desk(replica, request);
        for part in self.parts(state, run) {
            actions.push(Action::Step { replica, request, part });
            let Some((key, _)) =
                desk.put_of(run, part).filter(|_| run.stage.place() == Some(Place::S3))
            else {
                continue;
            };
            if state.s3.get(key).is_none() {
                if state.left.lost_answers > 0 {
                    actions.push(Action::LoseAnswer { replica, request, part });
                }
                if state.left.late_puts > 0 {
                    actions.push(Action::Delay { replica, request, part });
                }
            }
        }
        if desk.may_accept_unclaimed(state, run) {
            actions.push(Action::AcceptUnclaimed { replica, request });
        }
        if desk.may_give_up(state, run) {
            actions.push(Action::GiveUp { replica, request });
        }
    }

    /// The operations that a run can do now.
    pub(crate) fn parts(&self, state: &State, run: &Run) -> Vec<Part> {
        let reachable = |place| place == Place::Local || state.s3_is_up;
        match run.stage {
            Stage::Claim(claim) if reachable(claim.place) => claim.parts(),
            Stage::Artifacts { place, left, index_left, .. } if reachable(place) => {
                crate::write::artifact_parts(left, index_left)
            }
            Stage::Manifest { place, .. } if reachable(place) => vec![Part::PutManifest],
            Stage::KeptLocally if state.s3_is_up => vec![Part::Drain],
            Stage::Verify { .. } if state.s3_is_up => vec![Part::Verify],
            Stage::Delete { next } if state.s3_is_up || !self.deletion_needs_s3(next) => {
                vec![Part::Delete]
            }
            _ => Vec::new(),
        }
    }

    fn environment_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.s3_is_up {
            actions.extend((0..state.late.len()).map(|place| Action::Land { place }));
            if state.left.outages > 0 {
                actions.push(Action::S3Fails);
            }
        } else {
            actions.push(Action::S3Returns);
        }
        for replica in 0..REPLICAS {
            let is_idle = state.replicas[replica].runs.iter().all(Option::is_none);
            if state.left.crashes > 0 && !is_idle {
                actions.push(Action::Crash(replica));
            }
            if state.left.upgrades > 0 && state.replicas[replica].release == 1 {
                actions.push(Action::Upgrade(replica));
            }
            if state.left.machine_losses > 0 {
                actions.push(Action::LoseMachine(replica));
            }
        }
    }

    fn land(&self, state: &mut State, place: usize) {
        let (key, value) = state.late.remove(place);
        self.put_to_s3(state, key, value);
    }

    pub(crate) fn put_to_s3(&self, state: &mut State, key: Key, value: Value) -> PutOutcome {
        if self.mechanisms.put_if_absent {
            return state.s3.put_if_absent(key, value);
        }
        state.overwritten |= state.s3.put_anyway(key, value);
        PutOutcome::Created
    }

    /// The state after an action; none where it changes nothing.
    fn after(&self, last: &State, action: Action) -> Option<State> {
        match action {
            Action::Send { replica, request } => self.turn(last, replica, request).send(),
            Action::AcceptUnclaimed { replica, request } => {
                self.turn(last, replica, request).accept_unclaimed()
            }
            Action::Step { replica, request, part } => self.turn(last, replica, request).step(part),
            Action::LoseAnswer { replica, request, part } => {
                self.turn(last, replica, request).lose_answer(part)
            }
            Action::Delay { replica, request, part } => {
                self.turn(last, replica, request).delay(part)
            }
            Action::GiveUp { replica, request } => self.turn(last, replica, request).give_up(),
            Action::TakeOver { replica, entry } => self.take_over(last, replica, entry),
            _ => {
                let mut state = last.clone();
                self.strike(&mut state, action);
                Some(state)
            }
        }
    }

    /// What nobody in the protocol does.
    fn strike(&self, state: &mut State, action: Action) {
        match action {
            Action::Land { place } => self.land(state, place),
            Action::Crash(replica) => {
                state.left.crashes -= 1;
                self.restart(state, replica);
            }
            Action::Upgrade(replica) => {
                state.left.upgrades -= 1;
                state.replicas[replica].release += 1;
                self.restart(state, replica);
            }
            Action::LoseMachine(replica) => {
                state.left.machine_losses -= 1;
                self.lose_machine(state, replica);
            }
            Action::S3Fails => {
                state.left.outages -= 1;
                state.s3_is_up = false;
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
            disk: Disk::default(),
            runs: [const { None }; REQUESTS],
        };
        vec![State {
            s3: self.scenario.first_objects(),
            s3_is_up: true,
            late: Vec::new(),
            replicas: [replica(0), replica(1)],
            told: [Told::default(); REQUESTS],
            clock: 0,
            left: self.scenario.budget,
            overwritten: false,
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
            let entries =
                state.s3.iter().filter(|(key, _)| self.may_take_over(state, replica, *key));
            actions.extend(entries.map(|(entry, _)| Action::TakeOver { replica, entry }));
        }
        self.environment_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.after(last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
