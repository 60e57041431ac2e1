//! `journal: store`: what another replica accepted is finished from its entry in S3.

use crate::{
    names::ReplicaNumber,
    protocol::Protocol,
    state::{Origin, Run, State},
    store::{Key, Value},
};

impl Protocol {
    /// Whether a replica would finish an entry: it has none of that id itself, there is no manifest
    /// yet, and the record has the entry's digest. The age that the design asks for is left out:
    /// what holds at any moment holds after a quarter of an hour.
    pub(crate) fn may_take_over(&self, state: &State, replica: ReplicaNumber, key: Key) -> bool {
        let (Key::Entry(id, _), Some(Value::Entry { request, .. })) = (key, state.s3.get(key))
        else {
            return false;
        };
        let host = &state.replicas[replica];
        let is_known = (0..self.scenario.requests.len()).any(|other| {
            self.share_id(other, request)
                && (host.runs[other].is_some() || host.disk.journal[other].is_some())
        });
        let has_digest = match state.s3.get(Key::Record(id)) {
            Some(Value::Record { digest, .. }) => self.digest(request, digest.encoding) == digest,
            _ => false,
        };
        let is_taken_over = has_digest || !self.mechanisms.store_journal_record_digest_check;
        state.s3_is_up && !is_known && is_taken_over && state.s3.bundle_of(id).is_none()
    }

    /// Begins to finish an entry. A crash or a failure ends that; the entry is still there.
    pub(crate) fn take_over(
        &self,
        last: &State,
        replica: ReplicaNumber,
        key: Key,
    ) -> Option<State> {
        let mut state = last.clone();
        let Key::Entry(id, _) = key else { return None };
        let Value::Entry { request, pin } = state.s3.get(key)? else { return None };
        state.replicas[replica].runs[request] = Some(Run {
            id,
            origin: Origin::StoreEntry,
            own_pin: pin,
            is_accepted: true,
            manifest_sent: false,
            saw_error: false,
            stage: self.claim_in_s3(request, pin),
        });
        Some(state)
    }
}
