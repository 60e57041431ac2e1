//! Shared code of the benchmarks. With a real S3 server, `.ci/real-s3` starts it and sets the
//! environment.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod bucket;
pub(crate) mod in_process;
pub(crate) mod latency_proxy;
pub(crate) mod load;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod review;
pub(crate) mod s3_store;
pub(crate) mod server;
pub(crate) mod statistics;
pub(crate) mod webhook_receiver;
