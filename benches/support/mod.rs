//! What the benchmarks against a real S3 server share. They are run below `.ci/real-s3`, which starts the
//! server and says in the environment where it is.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod bucket;
pub(crate) mod latency_proxy;
pub(crate) mod load;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod review;
pub(crate) mod server;
pub(crate) mod statistics;
