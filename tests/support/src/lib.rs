//! Test support: [`TestS3`], an in-memory S3 server with real HTTP on 127.0.0.1.
//!
//! It replaces S3 in nearly all tests, so it is strict: it verifies signatures and checksums,
//! conditional writes have exactly one winner, and it refuses what S3 refuses. Tests can read and
//! change the stored objects, inspect requests ([`RecordedRequest`]) and inject faults
//! ([`FaultRule`]).

mod body;
mod bucket;
mod checksums;
mod clock;
mod connection;
mod exchange;
mod faults;
mod front;
pub mod http;
pub mod latency;
mod listing;
mod operation;
pub mod raw_server;
mod recording;
mod s3;
mod server;
mod state;
mod world;

pub use self::{
    bucket::{Attributes, Encryption, StoredObject},
    checksums::{Algorithm, StoredChecksum},
    faults::{Fault, FaultId, FaultRule},
    front::{ForwardProxy, TlsFront},
    operation::Operation,
    recording::RecordedRequest,
    s3::bad_listings::ListingFaults,
    server::{TestS3, TestS3Builder},
    world::World,
};
