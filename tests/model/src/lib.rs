//! The commit protocol of `docs/architecture.md` as a model small enough to visit every state.
//!
//! Two replicas, each with a disk of its own, and one S3. A [`scenarios::Scenario`] says what is
//! sent where and how often each adversity may strike: crashes, outages, lost and late answers,
//! upgrades, lost machines. The checker then takes every possible order of all of it, and looks in
//! every state at every [`invariants::Invariant`]. Switching one of the [`mechanisms::Mechanisms`]
//! off must break a named invariant: so each is there for a reason, and no invariant holds only
//! because it says nothing.
//!
//! The steps of the protocol, as the design numbers them, and where they are:
//!
//! | step | what | where |
//! |---|---|---|
//! | 1, 2 | one id, one run of it in a process; the journal entry | [`replica`] |
//! | 3, 4, 5 | claim; another digest under the id; `accepted` | [`claim`] |
//! | 6, 7 | artifacts and index entry; the manifest | [`write`](mod@write) |
//! | 8, 9, 11 | fallback, drain, `failed` | [`replica`] |
//! | 10 | verify and delete | [`cleanup`] |
//! | 12 | reading one export | [`store::Objects::bundle_of`] |
//! | `journal: store` | entries in S3, finished by the other replica | [`claim`], [`takeover`] |
//!
//! What the model leaves out: sizes, time-outs and budgets (a bound may pass at any moment), what
//! the bytes say (they are the tuple that decides them), a store that refuses for good (it looks
//! like an outage), a local disk that fails (the export waits, as in a crash).

pub mod actions;
pub mod claim;
pub mod cleanup;
pub mod counterexamples;
pub mod goals;
pub mod invariants;
pub mod mechanisms;
pub mod names;
pub mod protocol;
pub mod replica;
pub mod report;
pub mod scenarios;
pub mod state;
pub mod store;
pub mod takeover;
pub mod termination;
pub mod write;
