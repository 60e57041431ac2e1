//! Peers that mean harm, or are broken: they are cut off within bounds, and nobody else notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{following, requests, statuses, uploads};

mod built;
mod peer;

mod announced;
mod connections;
mod descriptors;
mod half_open;
mod headers;
mod readers;
mod shares;
mod slow_bodies;
mod streams;
mod unread;
