//! The generated messages and calls of `proto/tara/export/v1`.

#![allow(missing_docs, clippy::all)]

tonic::include_proto!("tara.export.v1");

/// The compiled protos with their imports, for proto3 JSON.
pub(crate) const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/tara.export.v1.bin"));
