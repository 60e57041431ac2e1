//! Memory is bounded by what is read or decoded: a counting allocator measures each path.
//!
//! To add a path: make a module here whose tests are
//! `#[test] fn name() { alone(async { … let (result, peak) = peak_during(work).await; … }) }`
//! with [`allocator::alone`] around the whole test, set-up included, and
//! [`allocator::peak_during`] (or [`allocator::peak_of`]) around the work alone. What the work's input
//! takes is allocated before, so that it does not count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[allow(unused_imports, reason = "paths that the harness's modules use")]
use harness::{following, raw, requests, statuses, uploads};

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../store_contract/raw_server.rs"]
mod raw_server;

mod allocator;
mod files;
mod journal;
mod messages;
mod returned;
mod s3_answers;
