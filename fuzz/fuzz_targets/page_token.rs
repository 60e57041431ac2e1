//! Page tokens come from untrusted clients: an accepted token is a position whose own token returns
//! it, with this filter and no other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tara_export_bundle::{AcceptedTime, ExportId};
use tara_export_catalog::{InvalidPageToken, PagePosition};

fuzz_target!(|input: (&str, i64, &str)| {
    let (filter, micros, token) = input;
    if let Ok(position) = PagePosition::from_token(token, filter) {
        check(position, filter);
    }
    // The fuzzer cannot guess the filter's digest, so this tests a valid token and a changed one.
    let (Some(time), Ok(id)) = (AcceptedTime::from_micros(micros), ID.parse::<ExportId>()) else {
        return;
    };
    let position = PagePosition::at(time, id);
    check(position, filter);
    let changed = position.to_token(filter).replacen(['e', 'J', 'M', 'w'], token, 1);
    if let Ok(position) = PagePosition::from_token(&changed, filter) {
        check(position, filter);
    }
});

const ID: &str = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";

fn check(position: PagePosition, filter: &str) {
    let token = position.to_token(filter);
    assert_eq!(PagePosition::from_token(&token, filter), Ok(position));
    let other = format!("{filter} ");
    assert_eq!(PagePosition::from_token(&token, &other), Err(InvalidPageToken::OtherFilter));
    assert!((0..=AcceptedTime::LATEST_MICROS).contains(&position.time().micros()));
    assert!(position.newest_time_after() <= position.time());
}
