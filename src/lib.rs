//! tara-export turns a completed document review into an audit bundle in S3 or on local disk.
//!
//! `docs/architecture.md` describes the modules.

pub mod adopt;
pub mod batch;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod export;
pub mod grpc;
pub mod health;
pub mod host;
pub mod jobs;
pub mod notifications;
#[allow(clippy::all, missing_docs, unreachable_pub)]
pub mod proto;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod transfer;
pub mod upload;
