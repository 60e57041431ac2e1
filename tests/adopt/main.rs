//! Adopting what the review application wrote before this service existed: on local disk, and in an S3
//! server in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{bundles, following, requests, statuses};

#[path = "../api/reading.rs"]
mod reading;

mod command;
mod interrupted;
mod place;
mod read_back;
mod real;
mod skipped;
