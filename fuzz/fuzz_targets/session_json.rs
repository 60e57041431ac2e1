//! The review application's own `session.json`: what is taken becomes a request that says the same in
//! proto3 JSON, and the server's limit of nesting holds for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tara_export::{client::session::review_from_json, proto::StartExportRequest};
use tara_export_fuzz::check_json;

fuzz_target!(|text: &str| {
    let (review, _) = match review_from_json(text) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    check_json(&StartExportRequest { review: Some(review), ..Default::default() });
});
