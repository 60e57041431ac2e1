//! Requests in proto3 JSON: what is taken is written and read again as the same request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tara_export::client::{request_from_json, to_json, to_json_pretty};

fuzz_target!(|text: &str| {
    let request = match request_from_json(text) {
        Ok(request) => request,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for json in [to_json(&request), to_json_pretty(&request)] {
        let again = request_from_json(&json).expect("this release wrote it");
        // A `NaN` is a number that differs from itself; its bytes don't.
        assert_eq!(again.encode_to_vec(), request.encode_to_vec(), "{json}");
    }
});
