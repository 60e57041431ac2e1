//! Tests of the API: a real server, called over TCP.
//!
//! A test belongs here if it needs no separate process and no random failures: behaviour of the API with both stores,
//! adoption, authentication. Most tests use the fake S3 store or the S3 server in memory.
//!
//! Tests control time, ids and the behaviour of S3. They wait for conditions, never for time to pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{bundles, following, raw, requests, statuses};

mod browser;
mod fake_s3;
mod reading;
mod store_journal;
mod webhooks;

mod admission;
mod adopt;
mod arbitrary_json;
mod archive;
mod archive_programs;
mod bad_input;
mod batch;
mod cached;
mod changed_store;
mod cleanup;
mod clock_jumps;
mod compression;
mod damage;
mod derived_ids;
mod downgrade;
mod error_size;
mod export;
mod idempotency;
mod job_pull;
mod job_reports;
mod jobs;
mod journal;
mod limits;
mod links;
mod list;
mod list_filter;
mod list_scale;
mod lost_records;
mod multipart;
mod notification_cost;
mod notifications;
mod outage;
mod parts_memory;
mod plain_http;
mod reads;
mod real_mail;
mod reflection;
mod retention;
mod s3;
mod s3_round_trips;
mod s3_sources;
mod security;
mod server;
mod takeover;
mod takeover_cost;
mod takeover_ended;
mod transfers;
mod unix_socket;
mod unreadable;
#[cfg(feature = "next-format")]
mod upgrade;
mod uploads;
mod uploads_attempts;
mod uploads_damaged;
mod uploads_on_disk;
mod uploads_refused;
mod watch;
mod web;
