//! Who may call, over what, and what of it is told: the real service over real TCP and TLS, with
//! certificates, tokens and keys made by each test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{bundles, following, requests, statuses};

mod authorities;
mod issuer;
mod tokens;

mod callers;
mod forwarded;
mod jwt;
mod logs;
mod roles;
mod s3;
mod tls;
