//! The engine: accepts a request, carries it to a committed bundle, and tells everybody who listens.
//!
//! An export runs in a task of its own, apart from the stream that started it: a client that goes
//! away or reads slowly stops nothing.

mod acceptance;
mod account;
mod admission;
mod attempt;
mod backlog;
mod breaker;
mod commit;
mod documents;
mod drain;
mod earlier;
mod engine;
mod error;
mod events;
mod failure;
mod job;
pub mod journal;
mod registry;
mod resume;
mod run;
mod settle;
mod shared;
mod status;
mod store_journal;
mod takeover;
mod tally;
mod watchdog;

pub use self::{
    admission::{Admission, AdmissionLimits, NoRoom, Overloaded, Permit, Room},
    documents::{AllowedSource, NamedDocument, NamedPlace, RequestedDocument},
    engine::Engine,
    engine::RequestedContent,
    error::{DocumentProblem, FailureReason, StartError},
    events::{ArtifactUpdate, Durability, Event, EventKind, Next, Progress, Subscription},
    journal::{Journal, JournalError, JournalErrorKind, JournalLimits},
    shared::{EngineSettings, JournalPlace, Stores},
    status::{Setback, Status},
    tally::Counts,
};
