//! Failures of S3, the network, clocks and credentials: the real service and the real S3 client, over real
//! HTTP, against an S3 server with injected faults. `hostile` has broken and malicious peers.
//!
//! Tests wait for a condition, not for a fixed time. `random` plays scripts of faults that a seed
//! determines: `FAULT_SEED=n` repeats one seed, `FAULT_SEEDS=n` plays n new ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{bundles, following, requests, statuses, uploads};

mod backlog;
mod clocks;
mod health;
mod hedging;
mod hostile;
mod hung_work;
mod names;
mod outage;
mod random;
mod retry_during_sync;
mod reused_id;
mod s3_responses;
mod shared_id;
mod shutdown;
mod slow_network;
