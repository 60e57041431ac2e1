//! Step 14: documents in a store, and exports that do not find theirs.

use crate::{
    actions::Operation,
    protocol::{Context, Transition},
    state::{Run, Stage, State, Target},
    store::Key,
};

/// The artifact that is a copy of the document.
pub const DOCUMENT: u8 = 0;

impl Context<'_> {
    /// Whether the request names a document in S3.
    pub(crate) fn needs_document(self) -> bool {
        self.protocol.request(self.request).needs_document
    }

    /// Whether the export's next step reads the document in S3 because its copy does not exist yet.
    fn reads_document(self, state: &State, run: &Run) -> bool {
        let Stage::Artifacts { target: Target::S3, folder, .. } = run.stage else { return false };
        let copy = state.s3_of(self.replica).get(Key::Artifact(folder, DOCUMENT));
        self.needs_document()
            && (copy.is_none() || !self.protocol.mechanisms.copied_document_is_not_read_again)
    }

    /// Whether the copy operation does not find the document.
    pub(crate) fn misses_document(self, state: &State, run: &Run, operation: Operation) -> bool {
        operation == Operation::PutArtifact(DOCUMENT)
            && self.reads_document(state, run)
            && state.s3_of(self.replica).get(Key::Document).is_none()
    }

    /// Whether an operation of a run puts an object to S3.
    pub(crate) fn may_put_to_s3(self, state: &State, run: &Run, operation: Operation) -> bool {
        run.stage.target() == Some(Target::S3) && !self.misses_document(state, run, operation)
    }

    /// Whether S3 may report an existing document as not found.
    pub(crate) fn may_miss_document(self, state: &State, run: &Run) -> bool {
        state.budget.false_losses > 0
            && self.reads_document(state, run)
            && self.operations(state, run).contains(&Operation::PutArtifact(DOCUMENT))
            && state.s3_of(self.replica).get(Key::Document).is_some()
    }
}

impl Transition<'_> {
    pub(crate) fn document_falsely_not_found(mut self) -> Option<State> {
        self.state.budget.false_losses -= 1;
        let run = self.run()?.clone();
        Some(self.document_not_found(run))
    }

    /// Handles a document that was not found. The identity is read right after, and the store does
    /// not change in between.
    pub(crate) fn document_not_found(mut self, mut run: Run) -> State {
        let Context { protocol, replica, request } = self.context;
        let mechanisms = &protocol.mechanisms;
        if protocol.knows_identities(&self.state, replica)
            && mechanisms.identity_read_before_failing
        {
            protocol.identify(&mut self.state, replica);
            run.is_identified = self.context.is_confirmed(&self.state);
            if !run.is_identified {
                self.set_run(Some(run));
                return self.state;
            }
        }
        run.misses += 1;
        if run.misses == 2 || !mechanisms.loss_confirmed {
            self.check_deciding_store();
            let disk = self.disk();
            disk.lost[request] = true;
            disk.failed[request] = true;
            disk.journal[request] = None;
            self.set_run(None);
            return self.state;
        }
        // PENDING: the next attempt follows after `LOSS_CONFIRMATION`.
        run.is_identified = false;
        run.saw_error = false;
        run.stage = protocol.claim_in_s3(request, run.own_pin);
        self.set_run(Some(run));
        self.state
    }
}
