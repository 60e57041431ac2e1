//! The state: stores, disks, processes, reports to callers, and the remaining faults.

use crate::{
    events::Events,
    identity::{Entry, Identities},
    names::{ExportId, Folder, LocationNumber, Pin, ReplicaNumber, StoreId, StoreNumber, Version},
    store::{ArtifactSet, Key, Objects, Value},
};

/// The number of replicas.
pub const REPLICAS: usize = 2;

/// The number of locations that a replica can be configured with.
pub const LOCATIONS: usize = 2;

/// The number of stores that can respond there.
pub const STORES: usize = 2;

/// The maximum number of requests in a scenario.
pub const REQUESTS: usize = 2;

/// One state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The objects of each store of S3.
    pub s3: [Objects; STORES],
    /// The store that responds at each location.
    pub store_at: [StoreNumber; LOCATIONS],
    /// Whether S3 responds.
    pub s3_is_up: bool,
    /// Delayed puts whose sender no longer waits, sorted.
    pub late: Vec<(StoreNumber, Key, Value)>,
    /// The replicas.
    pub replicas: [Replica; REPLICAS],
    /// What was reported to callers, by request.
    pub reported: [Reported; REQUESTS],
    /// The next acceptance time.
    pub clock: u8,
    /// The faults that may still occur.
    pub budget: Budget,
    /// Whether an object was overwritten with other bytes.
    pub overwritten: bool,
    /// The next new identity.
    pub next_store_id: StoreId,
    /// Whether another store than an entry's own decided about it.
    pub decided_by_other_store: bool,
    /// Events; `None` in scenarios without a target.
    pub events: Option<Box<Events>>,
}

/// How often each action may still occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Requests that are new to their replica.
    pub sends: u8,
    /// Processes that are killed and start again.
    pub crashes: u8,
    /// Outages of S3.
    pub outages: u8,
    /// Puts that take effect although the sender saw an error.
    pub lost_responses: u8,
    /// Puts that take effect some time after the sender saw an error.
    pub late_puts: u8,
    /// Puts that are sent twice because the first is slow.
    pub hedged_puts: u8,
    /// Restarts with the next release.
    pub upgrades: u8,
    /// Machines lost with their disks.
    pub machine_losses: u8,
    /// Restarts with the other location configured.
    pub reconfigurations: u8,
    /// Changes of the store at the first location, in an outage.
    pub swaps: u8,
    /// The same without a failed request, while only the copy of a document can be sent.
    pub silent_swaps: u8,
    /// Existing documents that are reported as not found.
    pub false_losses: u8,
    /// Documents that are deleted.
    pub removals: u8,
    /// Documents that are found to be lost.
    pub source_losses: u8,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// The format version of its release.
    pub release: Version,
    /// The configured location.
    pub location: LocationNumber,
    /// The identity that the process last read from the store.
    pub confirmed: Option<StoreId>,
    /// The state that survives a crash.
    pub disk: Disk,
    /// The state that does not survive a crash, by request.
    pub runs: [Option<Run>; REQUESTS],
}

/// A replica's data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Journal entries, by request.
    pub journal: [Option<Entry>; REQUESTS],
    /// The recorded store identities.
    pub identities: Identities,
    /// Receipts, by request.
    pub receipts: [bool; REQUESTS],
    /// Failure records, by request.
    pub failed: [bool; REQUESTS],
    /// Failure records of lost documents, by request.
    pub lost: [bool; REQUESTS],
    /// The local store.
    pub local: Objects,
}

/// One process's work on one export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The id of the export in the current store.
    pub id: ExportId,
    /// What started the run.
    pub origin: Origin,
    /// The pin of the journal entry.
    pub own_pin: Pin,
    /// Whether the export counts as accepted: from here on it must not be lost.
    pub is_accepted: bool,
    /// Whether the manifest may have been sent to S3.
    pub manifest_sent: bool,
    /// Whether a request to S3 failed since the run began to use it.
    pub saw_error: bool,
    /// Whether the store returned the entry's identity and no request failed since.
    pub is_identified: bool,
    /// How often a document was not found.
    pub misses: u8,
    /// The stage.
    pub stage: Stage,
}

/// What started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A request.
    Request,
    /// A journal entry on disk at the start of the process.
    Journal,
    /// Another replica's entry in S3.
    StoreEntry,
}

/// The store that a stage writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// S3.
    S3,
    /// The replica's local store.
    Local,
}

/// The stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Step 3.
    Claim(Claim),
    /// Step 6.
    Artifacts {
        /// The store.
        target: Target,
        /// The pin in use.
        pin: Pin,
        /// The folder.
        folder: Folder,
        /// The unconfirmed artifacts.
        artifacts_left: ArtifactSet,
        /// Whether the index entry is unconfirmed.
        index_left: bool,
    },
    /// Step 7.
    Manifest {
        /// The store.
        target: Target,
        /// The pin in use.
        pin: Pin,
        /// The folder.
        folder: Folder,
    },
    /// Step 18: the note of `fell_back` follows.
    NoteFellBack,
    /// Step 8 is done; step 9 follows when S3 responds.
    StoredLocally,
    /// Step 10, before anything is deleted.
    Verify {
        /// The committed folder.
        folder: Folder,
    },
    /// Step 10: the deletions.
    Delete {
        /// The number of the next deletion.
        next: u8,
    },
    /// Step 11, because a document is lost.
    Fail {
        /// Whether the entry in S3 still needs its end marker.
        end_marker_left: bool,
        /// Whether the failure record is still to be written.
        failure_record_left: bool,
    },
    /// Steps 11 and 18: failure record, note, and removal of the journal entry.
    EndFailed {
        /// The number of the next step.
        next: u8,
    },
}

/// Step 3: the responses so far to the parallel requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The store.
    pub target: Target,
    /// The run's own pin, or that of the adopted record.
    pub pin: Pin,
    /// The folder that is being claimed.
    pub folder: Folder,
    /// Whether the record is the run's own or adopted.
    pub record_known: bool,
    /// Whether the folder's claim is the export's own.
    pub claim_is_ours: Option<bool>,
    /// The result of the folder check.
    pub folder_check: Option<FolderCheck>,
    /// Whether the journal entry in S3 is unconfirmed.
    pub entry_left: bool,
}

/// The result of the check for a manifest in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FolderCheck {
    /// No manifest.
    NoManifest,
    /// The export's own: the bundle was committed before.
    OwnManifest,
    /// That of another export or a foreign one.
    OtherManifest,
}

/// What was reported to callers about one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reported {
    /// The status at each replica.
    pub status: [RequestStatus; REPLICAS],
    /// The replicas that sent `accepted` and have not lost their disk since.
    pub accepted: [bool; REPLICAS],
    /// Whether a replica reported that the acceptance survives the loss of its machine.
    pub accepted_in_store: bool,
    /// The replicas that reported a local bundle and have not lost their disk since.
    pub stored_locally: [bool; REPLICAS],
    /// The folder in S3 that each replica reported.
    pub stored_in_s3: [Option<Folder>; REPLICAS],
}

/// The status of a request at one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequestStatus {
    /// Not sent.
    #[default]
    NotSent,
    /// Sent, and not refused.
    Open,
    /// Refused with REQUEST_ID_REUSED.
    Refused,
    /// Sent to a machine that was lost since; it may have been accepted there.
    Lost,
}

impl State {
    /// The store that responds to a replica.
    pub fn store_of(&self, replica: ReplicaNumber) -> StoreNumber {
        self.store_at[self.replicas[replica].location]
    }

    /// The objects of the store that responds to a replica.
    pub fn s3_of(&self, replica: ReplicaNumber) -> &Objects {
        &self.s3[self.store_of(replica)]
    }

    /// Whether no work remains: S3 responds, no put is delayed, no run and no journal entry exists.
    pub fn is_quiet(&self) -> bool {
        self.s3_is_up
            && self.late.is_empty()
            && self.replicas.iter().all(|replica| {
                replica.runs.iter().all(Option::is_none)
                    && replica.disk.journal.iter().all(Option::is_none)
            })
    }
}
