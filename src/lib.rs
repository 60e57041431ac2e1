//! tara-export turns a completed document review into an audit bundle in S3 or on local disk.
//!
//! `docs/architecture.md` walks through the rooms of the code.

pub mod bundle;
pub mod cli;
pub mod client;
pub mod clock;
pub mod digest;
#[allow(clippy::all, missing_docs, unreachable_pub)]
pub mod proto;
pub mod store;
