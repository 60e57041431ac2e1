//! The test S3 server against the real AWS SDK: a double that isn't right proves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod checksums;
mod client;
mod conditions;
mod faults;
mod listing;
mod multipart;
mod objects;
mod outage;
