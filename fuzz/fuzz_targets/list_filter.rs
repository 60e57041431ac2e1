//! Filters of ListExports: an error has a position in the text, a filter never matches what it
//! allows to skip, and AND means both.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use tara_export_bundle::{AcceptedTime, Destination};
use tara_export_catalog::{Export, ExportState, Filter};
use tara_export_store::StoreKind;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    location: Location,
    accepted_seconds: u32,
    accepted_micros: u8,
    document_name: &'a str,
    reviewer: &'a str,
    session_id: &'a str,
    other_filter: &'a str,
    filter: &'a str,
}

/// The possible states of a bundle.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Location {
    InS3,
    FellBack,
    Local,
    Quarantined,
}

fuzz_target!(|input: Input<'_>| {
    let Some(filter) = parse(input.filter) else { return };
    let export = export(&input);
    let kind = export.stored_in.expect("a bundle has a store");
    if filter.matches(&export) {
        assert!(filter.may_match_in(kind), "{filter:?} would skip {kind:?}");
        let times = filter.accepted_times().expect("this time matches");
        assert!(times.contains(&export.accepted_time), "{filter:?}");
    }
    let Some(other) = parse(input.other_filter) else { return };
    let is_blank = |text: &str| text.trim().is_empty();
    let both = format!("{} AND {}", input.filter, input.other_filter);
    if !is_blank(input.filter) && !is_blank(input.other_filter) && both.len() <= 1024 {
        let both = Filter::parse(&both).expect("each of the two is a filter");
        assert_eq!(both.matches(&export), filter.matches(&export) && other.matches(&export));
    }
});

fn parse(text: &str) -> Option<Filter> {
    let result = Filter::parse(text);
    if let Err(error) = &result {
        assert!(error.position <= text.len(), "{error}");
        assert!(!error.reason.is_empty());
        assert!(text.len() > 1024 || text.is_char_boundary(error.position), "{error}");
    }
    result.ok()
}

fn export(input: &Input<'_>) -> Export {
    let (state, stored_in, requested_destination) = match input.location {
        Location::InS3 => (ExportState::Committed, StoreKind::S3, Destination::S3),
        Location::FellBack => (ExportState::FellBack, StoreKind::Local, Destination::S3),
        Location::Local => (ExportState::Committed, StoreKind::Local, Destination::Local),
        Location::Quarantined => (ExportState::Quarantined, StoreKind::S3, Destination::S3),
    };
    let micros = i64::from(input.accepted_seconds) * 1_000_000 + i64::from(input.accepted_micros);
    Export {
        export_id: "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e".parse().expect("a valid id"),
        is_id_unknown: false,
        state,
        state_reason: String::new(),
        document_name: input.document_name.to_owned(),
        session_id: input.session_id.to_owned(),
        reviewer: input.reviewer.to_owned(),
        requested_by: String::new(),
        requested_destination,
        stored_in: Some(stored_in),
        folder_name: None,
        location: String::new(),
        artifacts: Vec::new(),
        manifest_sha256: None,
        accepted_time: AcceptedTime::from_micros(micros).expect("a valid time"),
        committed_time: None,
        adopted: false,
        replacements: Default::default(),
    }
}
