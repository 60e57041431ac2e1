//! Requests in proto3 JSON: what is taken is written and read again as the same request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tara_export::client::request_from_json;
use tara_export_fuzz::check_json;

fuzz_target!(|text: &str| {
    match request_from_json(text) {
        Ok(request) => check_json(&request),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
