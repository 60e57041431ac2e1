//! Requests in proto3 JSON: an accepted request is written and read again unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tara_export_client::request_from_json;
use tara_export_fuzz::check_json;

fuzz_target!(|text: &str| {
    match request_from_json(text) {
        Ok(request) => check_json(&request),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
