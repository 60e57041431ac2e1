//! The Rust client and the commands that use it, against a fake server ([`fake_server`]) that drops
//! connections, refuses calls and sends invalid responses; in `scenarios` and `readme` against the built
//! binary.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../harness/authorities.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod authorities;
mod fake_server;
mod http_server;

mod batch;
mod commands;
mod follow;
mod hostile;
mod local_errors;
mod readme;
mod scenarios;
