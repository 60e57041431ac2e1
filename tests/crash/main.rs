//! Tests that kill the built binary at every step and at random moments: it finishes every accepted
//! export exactly once.
//!
//! `cargo test --features failpoints --test crash`, with `-- --include-ignored` if this machine may
//! mount a file system. `CRASH_SEED=…` repeats one of the random runs.
//!
//! The tests use only what is visible from outside: the API, the files, the objects in S3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mail_server.rs"]
#[allow(dead_code, reason = "other tests read the mails too")]
mod mail_server;

mod callers;
mod ledger;
mod machine;
mod notified;
mod process;
mod random;
mod receiver;
mod stores;
mod world;

mod at_batch_steps;
mod at_event_steps;
mod at_random;
mod at_steps;
mod disk_errors;
mod event_disk_errors;
mod failpoints;
mod foreign_folders;
mod full_disk;
mod large_backlog;
mod read_errors;
mod refusals;
#[cfg(target_os = "linux")]
mod stopped;
mod suspects;
