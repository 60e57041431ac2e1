//! Bounds of the memory that reading and decoding take, measured with a counting allocator.
//!
//! To add a code path, add a module whose tests are
//! `#[test] fn name() { alone(async { … let (result, peak) = peak_during(work).await; … }) }`
//! with [`allocator::alone`] around the whole test, including its setup, and [`allocator::peak_during`]
//! (or [`allocator::peak_of`]) around the work alone. Allocate the input of the work before, so that it
//! does not count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::raw;

mod allocator;
mod compression;
mod files;
mod journal;
mod messages;
mod plain_http;
mod returned;
mod s3_responses;
