//! Tests of the built binary as a process: settings, exit codes, signals, logs, metrics and traces.
//!
//! A test belongs here if it needs `tara-export` as a separate process. Tests of the API belong in `tests/api`,
//! failures around the server in `tests/faults`, crashes in `tests/crash`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{following, requests, statuses};

mod app_runner;
mod binary;
mod command_line;
mod identity;
mod machine;
mod observability;
mod proxies;
mod resume;
mod security;
mod stop;
mod unix_socket;
