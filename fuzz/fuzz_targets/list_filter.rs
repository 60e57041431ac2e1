//! Filters of ListExports: a refusal points into the text; what may be left unread never matches; and AND
//! means both.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use tara_export::{
    bundle::{AcceptedTime, Destination},
    catalog::{Export, ExportState, Filter},
    store::StoreKind,
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    place: Place,
    accepted_seconds: u32,
    accepted_micros: u8,
    document_name: &'a str,
    reviewer: &'a str,
    session_id: &'a str,
    other_filter: &'a str,
    filter: &'a str,
}

/// The bundles that there can be.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Place {
    InS3,
    FellBack,
    Local,
    Quarantined,
}

fuzz_target!(|input: Input<'_>| {
    let Some(filter) = parse(input.filter) else { return };
    let export = export(&input);
    let kind = export.stored_in.expect("it is a bundle");
    if filter.matches(&export) {
        assert!(filter.may_match_in(kind), "{filter:?} would leave {kind:?} unread");
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
    let (state, stored_in, requested_destination) = match input.place {
        Place::InS3 => (ExportState::Committed, StoreKind::S3, Destination::S3),
        Place::FellBack => (ExportState::FellBack, StoreKind::Local, Destination::S3),
        Place::Local => (ExportState::Committed, StoreKind::Local, Destination::Local),
        Place::Quarantined => (ExportState::Quarantined, StoreKind::S3, Destination::S3),
    };
    let micros = i64::from(input.accepted_seconds) * 1_000_000 + i64::from(input.accepted_micros);
    Export {
        export_id: "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e".parse().expect("it is an id"),
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
        accepted_time: AcceptedTime::from_micros(micros).expect("it is in the range"),
        committed_time: None,
        adopted: false,
    }
}
