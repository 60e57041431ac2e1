//! Tests of the test S3 server with the real AWS SDK: an incorrect test double proves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod checksums;
mod client;
mod conditions;
mod faults;
mod listing;
mod multipart;
mod objects;
mod outage;
