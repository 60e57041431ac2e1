//! Helpers for tests of the journal.

use tara_export_digest::Sha256;

use super::{FIRST_CBOR_VERSION, frame, header::HeaderV1};
use crate::{AcceptedHeader, to_json_compact};

/// The first two lines of an encoding whose body has this many arbitrary bytes.
pub fn head(version: u32, export: AcceptedHeader, body_size_bytes: u64) -> Vec<u8> {
    let body_sha256 = Sha256::of(b"");
    let export = export.into();
    let footprint_bytes = (version >= FIRST_CBOR_VERSION).then_some(body_size_bytes);
    let header =
        HeaderV1 { export, content_size_bytes: 0, body_size_bytes, body_sha256, footprint_bytes };
    let mut header = to_json_compact(&header);
    header.push(b'\n');
    [frame::encode(version, &header), header].concat()
}
