//! `apprunner.yaml` as App Runner uses it: the built binary with the file's command and environment, behind
//! a proxy that speaks HTTP/1.1 and cuts every request after a time, and callers of gRPC-Web.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{following, requests, statuses};

mod configuration;
mod export;
mod proxy;
mod service;
