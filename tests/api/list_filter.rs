//! List filters: what matches, and the errors for invalid filters.

use chrono::TimeDelta;
use tara_export_client::proto::{Destination, ListExportsRequest, StartExportRequest};

use crate::{
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{Host, TestServer, within},
    requests::{name, request},
    statuses::expect_invalid,
};

fn request_with(
    number: u32,
    document_name: &str,
    reviewer: &str,
    session_id: &str,
) -> StartExportRequest {
    let mut request = request(number, document_name);
    let review = request.review.as_mut().unwrap();
    (review.reviewer, review.session_id) = (reviewer.to_owned(), session_id.to_owned());
    request
}

/// Four exports, a minute apart: 1 is in S3, 2 fell back, 3 and 4 were requested for the local store.
async fn four_exports() -> (Host, TestServer) {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    let mut export = async |request: StartExportRequest, mode, destination: Destination| {
        s3.set(mode);
        let mut request = request;
        request.set_destination(destination);
        committed(&mut server.client, request).await;
        host.clock.advance(TimeDelta::minutes(1));
    };
    let (remote, local) = (Destination::S3, Destination::Local);
    export(request_with(1, "Incident Report.docx", "Ada", "s-1"), Mode::Works, remote).await;
    export(request_with(2, "incident.docx", "Grace", "s-2"), Mode::Down, remote).await;
    export(request_with(3, "a \"quoted\" \\ name", "Ada", "s-3"), Mode::Works, local).await;
    export(request_with(4, "ÜBERSICHT.docx", "", "S-4"), Mode::Works, local).await;
    (host, server)
}

async fn numbers(server: &mut TestServer, filter: &str) -> Vec<u32> {
    let request = ListExportsRequest { filter: filter.to_owned(), ..ListExportsRequest::default() };
    let page = within("the page", server.client.list_exports(request)).await;
    let page = page.unwrap_or_else(|status| panic!("{filter}: {status:?}")).into_inner();
    let known = |export: &str| (1..=4).find(|number| name(*number) == export).unwrap();
    page.exports.iter().map(|export| known(&export.name)).collect()
}

#[tokio::test]
async fn each_field_is_compared_as_documented() {
    let (_host, mut server) = four_exports().await;
    for (filter, expected) in [
        ("", &[4, 3, 2, 1][..]),
        ("  ", &[4, 3, 2, 1]),
        // Times.
        ("accepted_time = \"2026-11-22T18:38:00.123456Z\"", &[2]),
        ("accepted_time = \"2026-11-22T19:38:00.123456+01:00\"", &[2]),
        ("accepted_time != \"2026-11-22T18:38:00.123456Z\"", &[4, 3, 1]),
        ("accepted_time < \"2026-11-22T18:38:00.123456Z\"", &[1]),
        ("accepted_time <= \"2026-11-22T18:38:00.123456Z\"", &[2, 1]),
        ("accepted_time > \"2026-11-22T18:38:00.123456Z\"", &[4, 3]),
        ("accepted_time >= \"2026-11-22T18:38:00.123456Z\"", &[4, 3, 2]),
        // Texts.
        ("document_name = incident.docx", &[2]),
        ("document_name = \"Incident Report.docx\"", &[1]),
        ("document_name = Incident.docx", &[]),
        ("document_name != incident.docx", &[4, 3, 1]),
        ("document_name:INCIDENT", &[2, 1]),
        ("document_name:übersicht", &[4]),
        (r#"document_name = "a \"quoted\" \\ name""#, &[3]),
        (r#"document_name:"\"""#, &[3]),
        ("reviewer=Ada", &[3, 1]),
        ("reviewer != Ada", &[4, 2]),
        ("reviewer:a", &[3, 2, 1]),
        ("reviewer = \"\"", &[4]),
        ("session_id = s-1", &[1]),
        ("session_id:s-", &[4, 3, 2, 1]),
        ("session_id != S-4", &[3, 2, 1]),
        // Enums.
        ("state = STATE_COMMITTED", &[4, 3, 1]),
        ("state != STATE_COMMITTED", &[2]),
        ("state = STATE_FELL_BACK", &[2]),
        ("state = STATE_RUNNING", &[]),
        ("state = STATE_PENDING", &[]),
        ("state = STATE_FAILED", &[]),
        ("requested_destination = DESTINATION_S3", &[2, 1]),
        ("requested_destination != DESTINATION_S3", &[4, 3]),
        ("stored_in = DESTINATION_LOCAL", &[4, 3, 2]),
        ("stored_in != DESTINATION_LOCAL", &[1]),
        ("stored_in = DESTINATION_S3", &[1]),
        // Conjunctions.
        ("reviewer = Ada AND stored_in = DESTINATION_S3", &[1]),
        ("document_name:incident AND accepted_time >= \"2026-11-22T18:38:00Z\"", &[2]),
        ("reviewer = Ada AND reviewer = Grace", &[]),
    ] {
        // S3 works again, and the filter decides which stores are read.
        assert_eq!(numbers(&mut server, filter).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn invalid_filter_is_refused_with_position_and_reason() {
    let host = Host::new();
    let mut server = host.start().await;
    let long = format!("document_name = \"{}\"", "x".repeat(1024));
    for (filter, position, reason) in [
        ("reviewer", 8, "="),
        ("reviewer =", 10, "value"),
        ("reviewer = \"Ada", 11, "double quote"),
        ("reviewer = Ada,", 14, "AND"),
        ("reviewer = Ada OR reviewer = Grace", 15, "AND"),
        ("reviewer = Ada AND", 18, "field"),
        ("AND reviewer = Ada", 0, "field"),
        ("size = 3", 0, "document_name"),
        ("accepted_time : \"2026-11-01T00:00:00Z\"", 14, "<="),
        ("accepted_time > yesterday", 16, "RFC 3339"),
        ("accepted_time > \"2026-11-01\"", 16, "RFC 3339"),
        ("reviewer < Ada", 9, "!="),
        ("state : STATE_FAILED", 6, "="),
        ("state = FAILED", 8, "STATE_FAILED"),
        ("stored_in = S3", 12, "DESTINATION_S3"),
        ("reviewer = \"\\n\"", 12, "backslash"),
        (&long, 1024, "1024"),
    ] {
        let request =
            ListExportsRequest { filter: filter.to_owned(), ..ListExportsRequest::default() };
        let status = server.client.list_exports(request).await.unwrap_err();
        let description = expect_invalid(&status, "filter");
        assert!(
            description.starts_with(&format!("at byte {position}: ")),
            "{filter}: {description}"
        );
        assert!(description.contains(reason), "{filter}: {description}");
    }
}

#[tokio::test]
async fn error_for_a_filter_of_unusual_characters_reaches_the_client() {
    let host = Host::new();
    let mut server = host.start().await;
    for character in ['\u{1}', '\u{7f}', '"', '%', '字', '\u{e000}', '\u{10FFFF}'] {
        let escaped = if character == '"' { "\\\"".to_owned() } else { character.to_string() };
        for field in ["state", "accepted_time"] {
            let mut filter = format!("{field}=\"");
            while filter.len() + escaped.len() < 1024 {
                filter.push_str(&escaped);
            }
            filter.push('"');
            let request = ListExportsRequest { filter, ..ListExportsRequest::default() };
            let status = server.client.list_exports(request).await.unwrap_err();
            expect_invalid(&status, "filter");
        }
    }
}
