//! The API as its callers meet it: a real server on a real port, over TCP.
//!
//! Tests decide time, ids and what S3 does. None waits for time to pass: each waits for the thing
//! it wants to see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{bundles, following, raw, requests, statuses};

mod fake_s3;
mod reading;

mod admission;
mod again;
mod bad_input;
mod cached;
mod damage;
mod export;
mod journal;
mod kept_elsewhere;
mod limits;
mod links;
mod list;
mod list_filter;
mod list_scale;
mod multipart;
mod outage;
mod parts_memory;
mod reads;
mod references;
mod s3;
mod s3_round_trips;
mod server;
mod takeover;
mod tidying;
mod unchanged;
#[cfg(feature = "next-format")]
mod upgrade;
mod uploads;
mod uploads_on_disk;
mod uploads_refused;
mod watch;
mod web;
