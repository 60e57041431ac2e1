//! What happens when S3, the network, clocks and credentials fail: the real service and the real S3
//! client, over real HTTP, against an S3 server that fails on command.
//!
//! Each test waits for the thing it wants to see, and none for time to pass. `random` mixes failures
//! as a number says: `FAULT_SEED=n` runs one number again, `FAULT_SEEDS=n` tries n new ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{bundles, following, requests, statuses};

mod in_s3;
mod waiting;

mod answers;
mod backlog;
mod clocks;
mod health;
mod misused_id;
mod moving;
mod names;
mod outage;
mod random;
mod shutdown;
mod slow_line;
mod wedged;
