//! What is told of a server while it runs: the built binary with metrics, logs and traces on, its S3 server
//! in memory, and a collector of traces made for the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{following, requests, statuses};

mod collector;
mod dashboards;
mod emf;
mod metrics;
mod process;
mod traces;
