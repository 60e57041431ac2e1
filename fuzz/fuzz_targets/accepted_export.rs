//! The journal's encoding: what was accepted is read as it was, what is damaged is refused, and what only
//! has the right digests makes nothing but an error.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{
    arbitrary::{Arbitrary, Unstructured},
    fuzz_target,
};
use tara_export::{
    bundle::{AcceptedExport, UndecodableExport, encoding::header_end},
    digest::Sha256,
};
use tara_export_fuzz::accepted_export;

fuzz_target!(|data: &[u8]| {
    if let Ok(export) = AcceptedExport::decode(Bytes::copy_from_slice(data)) {
        check_stable(&export);
    }
    decode_redigested(data);
    let mut input = Unstructured::new(data);
    let Ok((place, change)) = <(u32, u8)>::arbitrary(&mut input) else { return };
    if let Ok(export) = accepted_export(&mut input) {
        check_stable(&export);
        check_damaged(&export.encode().concat(), place as usize, change);
    }
});

/// Read as it was written, and byte for byte the same when it is written again.
fn check_stable(export: &AcceptedExport) {
    let written = export.encode().concat();
    let read =
        AcceptedExport::decode(written.clone().into()).expect("it was written by this release");
    assert_eq!(&read, export);
    assert!(read.encode().concat() == written, "the same export gives other bytes");
}

/// One byte that is another, or an end that is missing, is damage: never another export, never one of a
/// later release.
fn check_damaged(written: &[u8], place: usize, change: u8) {
    let place = place % written.len();
    let mut damaged = written.to_vec();
    damaged[place] ^= change.max(1);
    for damaged in [damaged, written[..place].to_vec()] {
        let result = AcceptedExport::decode(damaged.into());
        assert!(matches!(result, Err(UndecodableExport::Damaged { .. })), "{result:?}");
    }
}

/// Bytes no release wrote, with digests and sizes that are right: what a digest vouches for is parsed.
/// The input is a header's JSON, a line break, and a body.
fn decode_redigested(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let mut header = match serde_json::from_slice(header) {
        Ok(serde_json::Value::Object(header)) => header,
        _ => return,
    };
    header.insert("body_size_bytes".to_owned(), body.len().into());
    header.insert("body_sha256".to_owned(), Sha256::of(body).to_string().into());
    let header = format!("{}\n", serde_json::Value::Object(header));
    for version in [1, 2, 3] {
        let prefix = format!("tara-export/accepted v{version:04} {:020} ", header.len());
        let digest = Sha256::of(format!("{prefix}{header}").as_bytes());
        let mut bytes = format!("{prefix}{digest}\n{header}").into_bytes();
        assert_eq!(header_end(&bytes), Ok(bytes.len() as u64));
        bytes.extend_from_slice(body);
        if let Ok(export) = AcceptedExport::decode(bytes.into()) {
            check_stable(&export);
        }
    }
}
