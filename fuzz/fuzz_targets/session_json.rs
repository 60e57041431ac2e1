//! The review application's own `session.json`: what is taken becomes a request that says the same in
//! proto3 JSON, and the server's limit of nesting holds for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tara_export::{
    client::{request_from_json, session::review_from_json, to_json, to_json_pretty},
    proto::StartExportRequest,
};

fuzz_target!(|text: &str| {
    let (review, _) = match review_from_json(text) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let request = StartExportRequest { review: Some(review), ..Default::default() };
    for json in [to_json(&request), to_json_pretty(&request)] {
        let again = request_from_json(&json).expect("this release wrote it");
        // A `NaN` is a number that differs from itself; its bytes don't.
        assert_eq!(again.encode_to_vec(), request.encode_to_vec(), "{json}");
    }
});
