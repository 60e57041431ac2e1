//! What the tests share: [`TestS3`], an S3 server in memory that speaks real HTTP on 127.0.0.1.
//!
//! It is the double of S3 in nearly all tests, so it is a strict judge: it verifies signatures and
//! checksums, conditional writes have exactly one winner, and what S3 refuses it refuses. Tests can
//! look at and change the stored objects, read what was asked ([`RecordedRequest`]) and make it
//! fail in chosen ways ([`FaultRule`]).

mod body;
mod bucket;
mod checksums;
mod clock;
mod connection;
mod exchange;
mod faults;
mod listing;
mod operation;
mod recording;
mod s3;
mod server;
mod state;
mod world;

pub use self::{
    bucket::{Attributes, Encryption, StoredObject},
    checksums::{Algorithm, StoredChecksum},
    faults::{Fault, FaultId, FaultRule},
    operation::Operation,
    recording::RecordedRequest,
    server::{TestS3, TestS3Builder},
    world::World,
};
