//! The review application's `session.json`: an accepted file becomes a request that round-trips in
//! proto3 JSON, and the server's nesting limit applies to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tara_export_client::{proto::StartExportRequest, session::review_from_json};
use tara_export_fuzz::check_json;

fuzz_target!(|text: &str| {
    let (review, _) = match review_from_json(text) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    check_json(&StartExportRequest { review: Some(review), ..Default::default() });
});
