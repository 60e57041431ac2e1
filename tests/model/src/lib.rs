//! A model of the commit protocol (docs/design/commit-protocol.md), small enough to visit every
//! state.
//!
//! Two replicas, each with its own disk, share one S3, or two stores there ([`store_scenarios`]). A
//! [`scenarios::Scenario`] defines the requests and how often each fault may occur: crashes,
//! outages, lost and late responses, upgrades, lost machines, other settings, another store at the
//! same location. The checker visits every possible order of these and checks every
//! [`invariants::Invariant`] in every state. Disabling one of the [`mechanisms::Mechanisms`] must
//! violate a named invariant, which proves that the mechanism is necessary and that the invariant
//! is not trivially true.
//!
//! The steps of the protocol, and their modules:
//!
//! | step | subject | module |
//! |---|---|---|
//! | 1, 2 | identify; record in the journal | [`replica`] |
//! | 3, 4, 5 | claim; resolve a used id; accept | [`claim`] |
//! | 6, 7 | put artifacts and the index entry; put the manifest | [`write`](mod@write) |
//! | 8, 9, 11 | fall back; sync; fail | [`replica`] |
//! | 10 | remove the local copy | [`cleanup`] |
//! | 12 | read an export | [`store::Objects::bundle_of`] |
//! | 13 | store identity | [`identity`] |
//! | 14 | lost documents | [`documents`] |
//! | 15 | journal entry in S3 | [`claim`] |
//! | 16 | end of an entry | [`cleanup`], [`takeover`] |
//! | 17 | takeover | [`takeover`] |
//! | 18 | notes | [`notes`] |
//! | 19, 20 | claims and deliveries of events | [`dispatch`] |
//!
//! The model leaves out sizes, timeouts and budgets (a limit may be reached at any moment), the
//! content of files (a file is the tuple that decides its bytes), a store that refuses permanently
//! (it is like an outage), a failing local disk (the export waits, as in a crash), `backlog move`,
//! and `JOURNAL=store` with two stores. Of events it leaves out `quarantined`, filters, digests, dead
//! events (a target answers in the end), and releases that encode one content differently.
//!
//! Another store replaces an entry's own only while no process is between two dependent requests to
//! it: in an outage, which every active attempt notices and an idle process does not, or without a
//! failed request while only the copy of a document can be sent. Two stores that alternate within
//! one attempt without a failed request are left out: no order of requests to S3 is safe from that.

pub mod actions;
pub mod claim;
pub mod cleanup;
pub mod counterexamples;
pub mod dispatch;
pub mod documents;
pub mod event_invariants;
pub mod event_scenarios;
pub mod events;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::panic)]
mod exhaustive;
pub mod goals;
pub mod identity;
pub mod invariants;
pub mod mechanisms;
pub mod names;
pub mod notes;
pub mod protocol;
pub mod replica;
pub mod report;
pub mod scenarios;
pub mod state;
pub mod store;
pub mod store_scenarios;
pub mod takeover;
pub mod termination;
pub mod write;
