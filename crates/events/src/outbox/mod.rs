//! The outbox on this machine's disk: every event is one file, and its state is the folder that the file is in.
//!
//! | path below `.tara-export/` | content |
//! |---|---|
//! | `settled/<export_id>-<content_digest>.json` | settled note: the event of an export whose journal entry is removed next |
//! | `events/pending/<event_id>.json` | event that a target has not answered |
//! | `events/answered/<event_id>.<target>` | empty: this target answered, and others have not |
//! | `events/delivered/<event_id>.json` | event that every target answered; expires |
//! | `events/dead/<event_id>.json` | dead letter, with its reasons; expires |
//! | `events/damaged/` | files that cannot be read |
//! | `events/owner.json` | this machine's name in the claims on events in the store |
//!
//! Invariant: an event is moved, never removed, until it has expired. A failed delivery writes nothing.
//!
//! All methods block. Steps that a crash can separate are separate methods.

mod expiry;
mod files;
mod record;
mod taken;

pub use self::{
    expiry::{EventRetention, RemovedEvents},
    files::{EventFiles, EventFolder, MAX_DEAD, MAX_PENDING},
    record::{DeadDelivery, Retry, StoredEvent, decode, encode},
    taken::TakenEvents,
};
