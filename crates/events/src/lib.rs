//! Events: what happened to an export, a batch or a job, for targets such as e-mail and webhooks.
//!
//! An event is a fact with a stable id. Targets get it at least once, in the order of one export's events.
//!
//! Notes, claims and deliveries: steps 18, 19 and 20 of docs/design/commit-protocol.md.
//!
//! Never depends on an async runtime, on targets, or on tonic.

mod cloud_event;
mod event;
mod outbox;
mod settled;

#[cfg(feature = "testing")]
pub use self::event::testing;
pub use self::{
    cloud_event::{EVENT_LIMIT_BYTES, Names},
    event::{
        BatchCounts, EndedBatch, EndedRun, Event, EventContent, EventId, EventType, Exported,
        UnknownEventType,
    },
    outbox::{
        DeadDelivery, EventFiles, EventFolder, EventRetention, MAX_DEAD, MAX_PENDING,
        RemovedEvents, Retry, StoredEvent, TakenEvents, decode, encode,
    },
    settled::{Consumer, Outbox},
};
