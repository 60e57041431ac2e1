//! Everything there is at one moment: the stores, the disks, what processes hold in memory, what
//! callers were told, and how much adversity is left.

use crate::{
    names::{ExportId, Folder, Pin, Version},
    store::{ArtifactSet, Key, Objects, Value},
};

/// Replicas in the model.
pub const REPLICAS: usize = 2;

/// Requests a scenario may have.
pub const REQUESTS: usize = 2;

/// One state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What lies in S3.
    pub s3: Objects,
    /// Whether S3 answers.
    pub s3_is_up: bool,
    /// Puts on their way whose sender has given up waiting, in order of key.
    pub late: Vec<(Key, Value)>,
    /// The replicas.
    pub replicas: [Replica; REPLICAS],
    /// What callers know, by request.
    pub told: [Told; REQUESTS],
    /// The acceptance time that is given out next.
    pub clock: u8,
    /// What may still happen.
    pub left: Budget,
    /// Whether an object lost its bytes to others.
    pub overwritten: bool,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Requests that arrive where they are not known.
    pub sends: u8,
    /// Processes that die and start again.
    pub crashes: u8,
    /// Times S3 goes away.
    pub outages: u8,
    /// Puts that took effect though the sender saw an error.
    pub lost_answers: u8,
    /// Puts that take effect some time after the sender saw an error.
    pub late_puts: u8,
    /// Restarts with the next release.
    pub upgrades: u8,
    /// Machines lost with their disks.
    pub machine_losses: u8,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// The format version that its release writes.
    pub release: Version,
    /// What survives a crash.
    pub disk: Disk,
    /// What does not, by request.
    pub runs: [Option<Run>; REQUESTS],
}

/// A replica's data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Journal entries, by request: what the acceptance pinned.
    pub journal: [Option<Pin>; REQUESTS],
    /// Receipts, by request.
    pub receipts: [bool; REQUESTS],
    /// Durable failures, by request.
    pub failed: [bool; REQUESTS],
    /// The local store.
    pub local: Objects,
}

/// One process's work on one export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The id it works under.
    pub id: ExportId,
    /// How it began.
    pub origin: Origin,
    /// The pin of the acceptance it began with.
    pub own_pin: Pin,
    /// Whether it counts as accepted: nothing may be lost from here on.
    pub is_accepted: bool,
    /// Whether the manifest may be on its way to S3.
    pub manifest_sent: bool,
    /// Whether a request to S3 failed since the run last turned to it.
    pub saw_error: bool,
    /// How far it is.
    pub stage: Stage,
}

/// How a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// With a request.
    Request,
    /// With a journal entry found at start.
    Journal,
    /// With another replica's entry in S3.
    StoreEntry,
}

/// The store that a stage works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// S3.
    S3,
    /// The replica's local store.
    Local,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Step 3.
    Claim(Claim),
    /// Step 6.
    Artifacts {
        /// Where.
        place: Place,
        /// Of which acceptance.
        pin: Pin,
        /// In which folder.
        folder: Folder,
        /// Not confirmed yet.
        left: ArtifactSet,
        /// Whether the index entry is not confirmed yet.
        index_left: bool,
    },
    /// Step 7.
    Manifest {
        /// Where.
        place: Place,
        /// Of which acceptance.
        pin: Pin,
        /// In which folder.
        folder: Folder,
    },
    /// Step 8 is done; step 9 follows when S3 answers.
    KeptLocally,
    /// Step 10, before anything is deleted.
    Verify {
        /// The committed folder.
        folder: Folder,
    },
    /// Step 10: how many deletions are done.
    Delete {
        /// The number of the next one.
        next: u8,
    },
}

/// Step 3: what has been answered so far of what was asked side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Where.
    pub place: Place,
    /// Our own pin, or the record's once it is known.
    pub pin: Pin,
    /// The folder that is tried.
    pub folder: Folder,
    /// Whether the record is ours or adopted.
    pub record_known: bool,
    /// Whether the folder's claim is ours.
    pub claim_is_ours: Option<bool>,
    /// What was found in the folder.
    pub look: Option<Look>,
    /// Whether the entry of `journal: store` is still to be confirmed.
    pub entry_left: bool,
}

/// What a look for a manifest found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// No manifest.
    Nothing,
    /// Our own: committed before.
    Ours,
    /// Somebody else's.
    Others,
}

/// What callers know of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// How it went, by replica.
    pub sent: [Sent; REPLICAS],
    /// Who said `accepted`, and has had its disk since.
    pub accepted: [bool; REPLICAS],
    /// Whether somebody said that the acceptance survives its machine.
    pub accepted_in_store: bool,
    /// Who said *stored locally*, and has had its disk since.
    pub stored_locally: [bool; REPLICAS],
    /// The folder that each named as stored in S3.
    pub stored_in_s3: [Option<Folder>; REPLICAS],
}

/// What became of a request at one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Not sent.
    #[default]
    Never,
    /// Sent, and not refused.
    Open,
    /// ALREADY_EXISTS.
    Refused,
    /// Sent to a machine that is lost since: whatever is said later, it may have been accepted.
    Lost,
}

impl State {
    /// Whether nothing is left to be done: S3 answers, nothing is under way, no journal entry waits.
    pub fn is_quiet(&self) -> bool {
        self.s3_is_up
            && self.late.is_empty()
            && self.replicas.iter().all(|replica| {
                replica.runs.iter().all(Option::is_none)
                    && replica.disk.journal.iter().all(Option::is_none)
            })
    }
}
