//! The built binary, killed at every step and at any moment: what it accepted it finishes, once.
//!
//! `cargo test --features failpoints --test crash`, with `-- --include-ignored` where this machine
//! may mount a file system. `CRASH_SEED=…` repeats one of the random runs.
//!
//! The tests know of the server what everybody can see: its API, its files, the objects in S3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod callers;
mod ledger;
mod machine;
mod process;
mod random;
mod stores;
mod world;

mod at_random;
mod at_steps;
mod disk_errors;
mod full_disk;
mod large_backlog;
mod named;
mod refusals;
mod suspects;
