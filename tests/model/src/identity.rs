//! Step 13: store identities, proposals, and entries that wait for another store.

use crate::{
    actions::{Action, Operation},
    documents::DOCUMENT,
    names::{LocationNumber, Pin, ReplicaNumber, StoreId, StoreNumber},
    protocol::{Context, Protocol, Transition},
    state::{LOCATIONS, Origin, Run, STORES, Stage, State, Target},
    store::{Key, Value},
};

/// A journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The pin of the acceptance.
    pub pin: Pin,
    /// The store that the entry belongs to, or a proposal; `None` in entries of a previous release.
    pub store: Option<StoreId>,
    /// The location of an acceptance that a store has not confirmed yet. Not part of the entry;
    /// kept to check that the entry does not wait for a store that it was never related to.
    pub unconfirmed_at: Option<LocationNumber>,
}

/// What a data directory records about one location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location {
    /// The identity that was last read there.
    pub id: Option<StoreId>,
    /// The identity that is proposed in case the store has none.
    pub proposal: Option<StoreId>,
}

/// What a data directory records about store identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identities {
    /// By location number.
    pub locations: [Location; LOCATIONS],
    /// Proposals and the identities that they stand for.
    pub aliases: Vec<(StoreId, StoreId)>,
    /// The store of entries without a store.
    pub unlabelled: Option<StoreId>,
}

impl Identities {
    /// Resolves a proposal to the identity that it stands for.
    fn resolve(&self, id: StoreId) -> StoreId {
        self.aliases.iter().find(|(alias, _)| *alias == id).map_or(id, |(_, id)| *id)
    }
}

impl Protocol {
    /// Whether a replica's release supports store identities.
    pub(crate) fn knows_identities(&self, state: &State, replica: ReplicaNumber) -> bool {
        self.scenario.identities_since.is_some_and(|since| state.replicas[replica].release >= since)
    }

    /// Prepares identities when a process starts.
    pub(crate) fn start_with_identities(&self, state: &mut State, replica: ReplicaNumber) {
        let host = &mut state.replicas[replica];
        host.confirmed = None;
        if !self.mechanisms.proposal_noted_before_use {
            for location in &mut host.disk.identities.locations {
                location.proposal = None;
            }
        }
        let has_unlabelled = host.disk.journal.iter().flatten().any(|entry| entry.store.is_none());
        if self.knows_identities(state, replica)
            && has_unlabelled
            && state.replicas[replica].disk.identities.unlabelled.is_none()
        {
            let label = self.label(state, replica);
            state.replicas[replica].disk.identities.unlabelled = Some(label);
        }
    }

    /// The store that a new journal entry names.
    fn label(&self, state: &mut State, replica: ReplicaNumber) -> StoreId {
        let host = &mut state.replicas[replica];
        if let Some(confirmed) = host.confirmed {
            return confirmed;
        }
        let location = &mut host.disk.identities.locations[host.location];
        if let Some(id) = location.id.filter(|_| !self.mechanisms.proposal_until_confirmed) {
            return id;
        }
        *location.proposal.get_or_insert_with(|| {
            state.next_store_id += 1;
            state.next_store_id - 1
        })
    }

    /// Reads the identity of the store that responds, and puts one if it has none.
    pub(crate) fn identify(&self, state: &mut State, replica: ReplicaNumber) {
        let store = state.store_of(replica);
        let host = &mut state.replicas[replica];
        let Location { id, proposal } = host.disk.identities.locations[host.location];
        let found = match state.s3[store].get(Key::Identity) {
            Some(Value::Identity(found)) => found,
            _ => {
                let old = id.filter(|_| !self.mechanisms.new_identity_where_it_is_missing);
                let new = old.or(proposal).unwrap_or_else(|| {
                    state.next_store_id += 1;
                    state.next_store_id - 1
                });
                state.s3[store].put_if_absent(Key::Identity, Value::Identity(new));
                new
            }
        };
        let identities = &mut host.disk.identities;
        if let Some(proposal) = proposal.filter(|proposal| *proposal != found)
            && self.mechanisms.proposal_becomes_alias
        {
            identities.aliases.push((proposal, found));
        }
        identities.locations[host.location] = Location { id: Some(found), proposal: None };
        host.confirmed = Some(found);
        for entry in host.disk.journal.iter_mut().flatten() {
            if entry.store.is_some_and(|store| identities.resolve(store) == found) {
                entry.unconfirmed_at = None;
            }
        }
    }

    /// A request to S3 failed in each process that was using it: they read the identity again. An
    /// idle process does not notice.
    pub(crate) fn require_identity_again(&self, state: &mut State) {
        if !self.mechanisms.identity_read_again_after_failure {
            return;
        }
        for replica in 0..state.replicas.len() {
            for request in 0..state.replicas[replica].runs.len() {
                let context = self.context(replica, request);
                let Some(run) = &state.replicas[replica].runs[request] else { continue };
                if context.needs_s3(run) && context.may_use_s3(state, run) {
                    let host = &mut state.replicas[replica];
                    host.confirmed = None;
                    host.runs.iter_mut().flatten().for_each(|run| run.is_identified = false);
                }
            }
        }
    }

    pub(crate) fn identity_actions(
        &self,
        state: &State,
        replica: ReplicaNumber,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_used(replica) || !self.knows_identities(state, replica) {
            return;
        }
        if state.s3_is_up && state.replicas[replica].confirmed.is_none() {
            actions.push(Action::Identify(replica));
        }
        if state.budget.reconfigurations > 0 && replica == 0 {
            actions.push(Action::Configure(replica));
        }
    }

    /// Whether the store at the first location can change without a failed request: the only
    /// request is the copy of a document, which the other store does not have.
    pub(crate) fn may_swap_silently(&self, state: &State) -> bool {
        let finds_document = state.s3[STORES - 1 - state.store_at[0]].get(Key::Document).is_some();
        let is_harmless = |context: Context<'_>, run: &Run| {
            let copies_only = context.needs_document()
                && self.stage_operations(state, run) == [Operation::PutArtifact(DOCUMENT)];
            !context.needs_s3(run)
                || !context.may_use_s3(state, run)
                || (copies_only && !finds_document)
        };
        state.budget.silent_swaps > 0
            && state.replicas.iter().enumerate().all(|(replica, host)| {
                host.runs.iter().enumerate().all(|(request, run)| {
                    let context = self.context(replica, request);
                    run.as_ref().is_none_or(|run| is_harmless(context, run))
                })
            })
    }
}

impl Context<'_> {
    fn entry(self, state: &State) -> Option<Entry> {
        state.replicas[self.replica].disk.journal[self.request]
    }

    /// The entry's store identity, as far as this replica knows it.
    fn identity(self, state: &State) -> Option<StoreId> {
        let identities = &state.replicas[self.replica].disk.identities;
        let id = self.entry(state)?.store.or(identities.unlabelled)?;
        Some(identities.resolve(id))
    }

    /// The store that the entry belongs to; `None` if no store has its identity.
    pub(crate) fn own_store(self, state: &State) -> Option<StoreNumber> {
        self.protocol.scenario.identities_since?;
        if self.entry(state)?.store.is_none() {
            // The first location: the previous release used it.
            return Some(0);
        }
        let identity = Value::Identity(self.identity(state)?);
        state.s3.iter().position(|s3| s3.get(Key::Identity) == Some(identity))
    }

    /// Whether the store that this process last confirmed is the entry's store.
    pub(crate) fn is_confirmed(self, state: &State) -> bool {
        let Some(entry) = self.entry(state) else { return true };
        let may_use_any_store = entry.store.is_none()
            && !self.protocol.mechanisms.unlabelled_entries_belong_to_first_store;
        let confirmed = state.replicas[self.replica].confirmed;
        confirmed.is_some() && (may_use_any_store || confirmed == self.identity(state))
    }

    /// Whether a run's next operation uses S3.
    pub(crate) fn needs_s3(self, run: &Run) -> bool {
        match run.stage {
            Stage::StoredLocally | Stage::Verify { .. } => true,
            Stage::Delete { next } => self.protocol.deletion_needs_s3(next),
            _ => run.stage.target() == Some(Target::S3),
        }
    }

    /// Whether a run may use S3, by the identity that was last read.
    pub(crate) fn may_use_s3(self, state: &State, run: &Run) -> bool {
        let mechanisms = &self.protocol.mechanisms;
        !self.protocol.knows_identities(state, self.replica)
            || !mechanisms.entry_names_its_store
            || run.origin == Origin::StoreEntry
            || (self.is_confirmed(state)
                && (run.is_identified || !mechanisms.attempt_reads_identity))
    }

    /// Whether a run waits because another store than its entry's responds.
    pub(crate) fn waits_for_another_store(self, state: &State, run: &Run) -> bool {
        self.needs_s3(run)
            && !self.may_use_s3(state, run)
            && state.replicas[self.replica].confirmed.is_some()
            && !self.is_confirmed(state)
    }

    /// Whether a run without operations may wait: its own store does not respond and the settings
    /// of its acceptance are not configured, or the identity of its store is read next.
    pub(crate) fn may_wait(self, state: &State, run: &Run) -> bool {
        let host = &state.replicas[self.replica];
        let store = state.store_of(self.replica);
        let is_as_accepted = store == host.location
            && self.entry(state).is_some_and(|entry| entry.unconfirmed_at == Some(host.location));
        self.needs_s3(run)
            && !self.may_use_s3(state, run)
            && (host.confirmed.is_none()
                || (self.own_store(state) != Some(store) && !is_as_accepted))
    }

    /// The operations that a run can execute now.
    pub(crate) fn operations(self, state: &State, run: &Run) -> Vec<Operation> {
        if !self.needs_s3(run) || self.may_use_s3(state, run) {
            return self.protocol.stage_operations(state, run);
        }
        if !state.s3_is_up || !self.protocol.mechanisms.attempt_reads_identity {
            return Vec::new();
        }
        // A run that waits reads the identity repeatedly; only a changed result is a new state.
        let after = Transition { context: self, state: state.clone() }.read_identity(run.clone());
        if after == *state { Vec::new() } else { vec![Operation::ReadIdentity] }
    }
}

impl Transition<'_> {
    /// The journal entry of a new acceptance.
    pub(crate) fn new_entry(&mut self) -> Entry {
        let Context { protocol, replica, request } = self.context;
        let pin = protocol.new_pin(&self.state, replica, request);
        if !protocol.knows_identities(&self.state, replica) {
            return Entry { pin, store: None, unconfirmed_at: None };
        }
        if self.context.needs_document() && protocol.mechanisms.identity_read_with_documents {
            protocol.identify(&mut self.state, replica);
        }
        let host = &self.state.replicas[replica];
        let unconfirmed_at = host.confirmed.is_none().then_some(host.location);
        let store = Some(protocol.label(&mut self.state, replica));
        Entry { pin, store, unconfirmed_at }
    }

    /// An attempt begins, or continues after a failure.
    pub(crate) fn read_identity(mut self, mut run: Run) -> State {
        self.context.protocol.identify(&mut self.state, self.context.replica);
        run.is_identified = self.context.is_confirmed(&self.state);
        self.set_run(Some(run));
        self.state
    }

    /// Records whether another store than the entry's own decides about it.
    pub(crate) fn check_deciding_store(&mut self) {
        let own = self.context.own_store(&self.state);
        self.state.decided_by_other_store |=
            own.is_some_and(|own| own != self.state.store_of(self.context.replica));
    }
}
