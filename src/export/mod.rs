//! The engine: accepts requests, writes their bundles, and publishes events to subscribers.
//!
//! Each export runs in its own task, independent of the stream that started it: a client that disconnects or reads
//! slowly does not stop it.

mod accept;
mod counters;
mod drive;
mod engine;
mod error;
mod failure;
pub mod journal;
mod recover;
mod run;
mod settings;
mod shared;
#[cfg(test)]
mod testing;

pub use self::{
    accept::{
        admission::{
            Admission, AdmissionError, AdmissionLimits, Overloaded, Permit, RequestMemory,
        },
        pinning::{DocumentLocation, NamedDocument, RequestedDocument},
    },
    counters::register_counters,
    engine::{Engine, RequestedContent},
    error::{DocumentProblem, StartError},
    failure::{Failure, FailureReason},
    journal::{Journal, JournalError, JournalErrorKind, JournalLimits, JournalRetention},
    recover::{
        left::LeftExports,
        outcome::ExportOutcome,
        relocate::{Relocated, Relocation, RelocationError, RelocationSettings},
        resume::Accepted,
        status::{FailedAttempt, Status},
    },
    run::{
        events::{ArtifactUpdate, Durability, Event, EventKind, Progress},
        subscription::{Next, Subscription},
        tally::Counts,
    },
    settings::{EngineSettings, Stores},
};
