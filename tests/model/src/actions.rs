//! The actions of the model.

use crate::{
    events::{EventId, EventType},
    names::{ReplicaNumber, RequestNumber},
    store::Key,
};

/// One atomic step of a replica, the store or the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A request arrives. If it is new, its journal entry is durable afterwards (steps 1 and 2).
    Send {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
    },
    /// `accepted` is sent without the claim because S3 took too long (step 5).
    AcceptUnclaimed {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
    },
    /// One operation of a run is executed and its response arrives.
    Step {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
        /// The operation.
        operation: Operation,
    },
    /// A put to S3 takes effect and its response is lost.
    LoseResponse {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
        /// The operation.
        operation: Operation,
    },
    /// A put to S3 fails for its sender and may take effect later.
    DelayPut {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
        /// The operation.
        operation: Operation,
    },
    /// A put to S3 is slow and is sent a second time, and one of the two is answered.
    /// The model does that with any put of an export, the service only with those of steps 3, 6 and 7.
    HedgePut {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
        /// The operation.
        operation: Operation,
        /// Whether the answer is 412, because the other put took effect before. Otherwise the other
        /// put may take effect later.
        finds_own: bool,
    },
    /// A delayed put takes effect.
    ApplyLatePut {
        /// The index of the put in `late`.
        index: usize,
    },
    /// A run stops retrying S3: it falls back or fails (steps 8 and 11).
    StopRetrying {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
    },
    /// A replica takes over an entry in S3 (step 17).
    TakeOver {
        /// The replica.
        replica: ReplicaNumber,
        /// The entry's key.
        entry: Key,
    },
    /// A replica that scans the entries in S3 ends one whose export has ended (steps 16 and 17).
    EndEntry {
        /// The entry's key.
        entry: Key,
    },
    /// A replica that scans the entries in S3 settles one whose bundle is committed (steps 16, 18
    /// and 20).
    SettleEntry {
        /// The replica.
        replica: ReplicaNumber,
        /// The entry's key.
        entry: Key,
    },
    /// One step of a note's delivery (step 19).
    Deliver {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
        /// The event's type.
        event: EventType,
        /// The step.
        step: DeliveryStep,
    },
    /// A replica puts `.try-<slot>` for an old event of another machine (step 20).
    TryOrphan {
        /// The replica.
        replica: ReplicaNumber,
        /// The event.
        id: EventId,
    },
    /// One step of its delivery.
    DeliverOrphan {
        /// The replica.
        replica: ReplicaNumber,
        /// The step.
        step: DeliveryStep,
    },
    /// `TAKEOVER_AGE` passes.
    Age,
    /// An outage of the target begins.
    TargetFails,
    /// The outage of the target ends.
    TargetReturns,
    /// A document in S3 that the request names is missing or has changed.
    LoseSource {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
    },
    /// A process is killed and starts again.
    Crash(ReplicaNumber),
    /// A process restarts as the next release.
    Upgrade(ReplicaNumber),
    /// A machine is lost with its disk and replaced by an empty one.
    LoseMachine(ReplicaNumber),
    /// A process reads the identity of its store (step 13).
    Identify(ReplicaNumber),
    /// A process restarts with the other location configured.
    Configure(ReplicaNumber),
    /// The first location now refers to the other store.
    Swap,
    /// Like `Swap`, but no request fails.
    SwapSilently,
    /// S3 reports a document as not found although it exists.
    MissDocument {
        /// The replica.
        replica: ReplicaNumber,
        /// The request.
        request: RequestNumber,
    },
    /// The document is deleted.
    RemoveDocument,
    /// An outage of S3 begins.
    S3Fails,
    /// The outage of S3 ends.
    S3Returns,
}

/// One operation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Step 3: the record.
    PutRecord,
    /// Step 3: the folder claim.
    PutClaim,
    /// Step 3: the check for a manifest in the folder.
    CheckFolder,
    /// Step 15: the journal entry in S3.
    PutEntry,
    /// Step 6: an artifact.
    PutArtifact(u8),
    /// Step 6: the index entry.
    PutIndex,
    /// Step 7: the manifest.
    PutManifest,
    /// Step 13: the store identity, read at the start of each attempt.
    ReadIdentity,
    /// Step 9: the sync begins.
    Sync,
    /// Step 10: the check of every object in S3.
    Verify,
    /// Step 10: the next deletion.
    Delete,
    /// Step 16: the end marker of an export that fails.
    PutFailedMarker,
    /// Step 11: the failure is recorded and reported.
    RecordFailure,
    /// Step 18: the note of `fell_back`.
    NoteFellBack,
    /// Steps 11 and 18: the next of failure record, note, and removal of the journal entry.
    EndFailed,
}

/// One step of the delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStep {
    /// The note moves from `settled/` to `events/pending/`.
    Rename,
    /// The claim is put.
    Claim,
    /// The put of the claim fails for its sender and may take effect later.
    DelayClaim,
    /// S3 does not respond: the event is delivered without a claim.
    SkipClaim,
    /// The owner puts `.try-<slot>` for its old event.
    TakeSlot,
    /// The owner of an old event finds `.done`.
    FindDone,
    /// The target gets the event and answers.
    Deliver,
    /// The target gets the event, and its answer is lost.
    LoseAnswer,
    /// `.done` is put.
    PutDone,
    /// The note moves to `events/delivered/`.
    Forget,
}
