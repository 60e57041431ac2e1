//! The Rust client and the commands that use it, against a fake server ([`fake_server`]) that drops
//! connections, refuses calls and sends invalid responses; in `scenarios` and `readme` against the built
//! binary.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fake_server;

mod commands;
mod follow;
mod hostile;
mod readme;
mod scenarios;
