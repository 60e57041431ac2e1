//! tara-export turns a completed document review into an audit bundle in S3 or on local disk.
//!
//! `docs/architecture.md` walks through the rooms of the code.

// First, for its macro is used in the rooms below.
#[macro_use]
mod failpoint;

pub mod adopt;
pub mod auth;
pub mod bundle;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod digest;
pub mod disk;
pub mod export;
pub mod grpc;
pub mod health;
pub mod limits;
#[allow(clippy::all, missing_docs, unreachable_pub)]
pub mod proto;
pub mod server;
mod small_file;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod transfer;
pub mod upload;
