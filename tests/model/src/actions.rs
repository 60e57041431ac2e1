//! Everything that can happen next.

use crate::{
    names::{ReplicaNumber, RequestNumber},
    store::Key,
};

/// One atomic step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A request arrives; where it is new, its journal entry is on disk afterwards (steps 1, 2).
    Send {
        /// Where.
        replica: ReplicaNumber,
        /// Which.
        request: RequestNumber,
    },
    /// `accepted` is said without the claim: the store took too long (step 5).
    AcceptUnclaimed {
        /// By whom.
        replica: ReplicaNumber,
        /// Which.
        request: RequestNumber,
    },
    /// One operation of a run takes place and is answered.
    Step {
        /// By whom.
        replica: ReplicaNumber,
        /// For which.
        request: RequestNumber,
        /// What.
        part: Part,
    },
    /// A put to S3 takes effect, and its answer is lost.
    LoseAnswer {
        /// By whom.
        replica: ReplicaNumber,
        /// For which.
        request: RequestNumber,
        /// What.
        part: Part,
    },
    /// A put to S3 fails for its sender, and stays on its way.
    Delay {
        /// By whom.
        replica: ReplicaNumber,
        /// For which.
        request: RequestNumber,
        /// What.
        part: Part,
    },
    /// A late put takes effect.
    Land {
        /// Its place among the late ones.
        place: usize,
    },
    /// A run has no patience left with S3: it falls back or fails (steps 8, 11).
    GiveUp {
        /// By whom.
        replica: ReplicaNumber,
        /// For which.
        request: RequestNumber,
    },
    /// `journal: store`: a replica begins to finish what an entry in S3 holds.
    TakeOver {
        /// By whom.
        replica: ReplicaNumber,
        /// The entry.
        entry: Key,
    },
    /// A process dies and starts again.
    Crash(ReplicaNumber),
    /// A process ends and starts again as the next release.
    Upgrade(ReplicaNumber),
    /// A machine is lost with its disk, and an empty one takes its place.
    LoseMachine(ReplicaNumber),
    /// S3 goes away.
    S3Fails,
    /// S3 comes back.
    S3Returns,
}

/// One operation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Step 3: the record.
    PutRecord,
    /// Step 3: the folder claim.
    PutClaim,
    /// Step 3: the look for a manifest.
    Look,
    /// `journal: store`: the entry.
    PutEntry,
    /// Step 6: an artifact.
    PutArtifact(u8),
    /// Step 6: the index entry.
    PutIndex,
    /// Step 7.
    PutManifest,
    /// Step 9 begins.
    Drain,
    /// Step 10: the check of every remote object.
    Verify,
    /// Step 10: the next deletion.
    Delete,
}
