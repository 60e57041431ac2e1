//! `/metrics` after an export, a retry, a fallback, a sync and refusals.

use tara_export_client::proto::{GetExportRequest, StartExportRequest, export::State};
use tara_export_telemetry::names::{ALL, Kind};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use super::process::{Process, Scrape};
use crate::{
    following::{committed, refused},
    harness::http::get,
    requests::{name, request},
    statuses::expect_status,
};

const FLAGS: [&str; 4] = [
    "--metrics-listen-addr=127.0.0.1:0",
    "--s3-retry-budget=1s",
    "--s3-outage-pause=100ms",
    "--s3-prices=put=5,get=0.4,delete=0",
];

fn expect(scrape: &Scrape, name: &str, labels: &[(&str, &str)], value: f64) {
    let found = scrape.sum(name, labels);
    assert!((found - value).abs() < 1e-9, "{name} {labels:?} is {found}, not {value}: {scrape:#?}");
}

#[tokio::test]
async fn export_outcomes_are_counted_once_with_their_reason() {
    let s3 = TestS3::start().await;
    let server = Process::start(&s3, &FLAGS);
    let mut client = server.client().await;

    // One export without problems, and one whose manifest is stored at the second attempt.
    committed(&mut client, request(1, "incident report.docx")).await;
    let slow = FaultRule::new(Fault::SLOW_DOWN).on(Operation::PutObject);
    s3.fail(slow.key_ends_with("manifest.json").times(1));
    committed(&mut client, request(2, "incident report.docx")).await;
    // The first request again: nothing changes.
    committed(&mut client, request(1, "incident report.docx")).await;
    // Two refusals: an empty request, and an id of another export.
    let status = refused(&mut client, StartExportRequest::default()).await;
    expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
    let status = refused(&mut client, request(2, "another.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let unknown = client.get_export(GetExportRequest { name: name(99) }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    // A call is counted when its stream is closed, shortly after the caller has the result.
    let seen = server
        .scrape_until(|seen| {
            seen.sum("tara_export_calls_total", &[]) == 6.0
                && seen.sum("tara_export_calls_in_flight", &[]) == 0.0
        })
        .await;
    let to_s3 = [("outcome", "committed"), ("requested", "s3"), ("stored_in", "s3")];
    expect(&seen, "tara_export_exports_total", &to_s3, 2.0);
    expect(&seen, "tara_export_exports_total", &[], 2.0);
    expect(&seen, "tara_export_export_duration_seconds_count", &[("stored_in", "s3")], 2.0);
    // Eleven artifacts without guidelines, and the manifest.
    expect(&seen, "tara_export_export_artifacts_sum", &[], 2.0 * 12.0);
    assert!(seen.sum("tara_export_export_size_bytes_sum", &[("stored_in", "s3")]) > 2000.0);
    expect(&seen, "tara_export_retries_total", &[("cause", "throttled")], 1.0);
    let start = ("method", "StartExport");
    expect(&seen, "tara_export_rejected_total", &[start, ("reason", "INVALID_REQUEST")], 1.0);
    expect(&seen, "tara_export_rejected_total", &[start, ("reason", "REQUEST_ID_REUSED")], 1.0);
    let get_export = ("method", "GetExport");
    expect(&seen, "tara_export_rejected_total", &[get_export, ("reason", "EXPORT_NOT_FOUND")], 1.0);
    expect(&seen, "tara_export_calls_total", &[start, ("code", "OK")], 3.0);
    expect(&seen, "tara_export_calls_total", &[start, ("code", "INVALID_ARGUMENT")], 1.0);

    // S3 requests and their cost, by operation and result, compared to the count of the test S3 server.
    let puts = s3.requests_of(Operation::PutObject).len() as f64;
    let throttled = [("operation", "PutObject"), ("result", "throttled")];
    expect(&seen, "tara_export_s3_requests_total", &[("operation", "PutObject")], puts);
    expect(&seen, "tara_export_s3_requests_total", &throttled, 1.0);
    expect(&seen, "tara_export_s3_request_duration_seconds_count", &throttled, 1.0);
    let put = [("operation", "PutObject")];
    expect(&seen, "tara_export_s3_cost_nanodollars_total", &put, (puts - 1.0) * 5e6);
    let heads = s3.requests_of(Operation::HeadObject).len() as f64;
    let head = [("operation", "HeadObject")];
    expect(&seen, "tara_export_s3_cost_nanodollars_total", &head, heads * 4e5);

    // Every series is declared, with its labels and its kind.
    for (name, kind) in &seen.types {
        let declared = ALL.iter().find(|metric| metric.name == name);
        let declared = declared.unwrap_or_else(|| panic!("{name} is not declared"));
        let expected = match declared.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(kind, expected, "{name}");
        let samples = seen.samples.iter().filter(|sample| sample.name.starts_with(name.as_str()));
        for sample in samples {
            let labels: Vec<&str> = sample.labels.iter().map(|(name, _)| name.as_str()).collect();
            let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
            let is_declared = ALL.iter().any(|metric| {
                sample.name.starts_with(metric.name) && metric.labels == labels.as_slice()
            });
            assert!(is_declared, "{sample:?}");
        }
    }
    server.end();
}

#[tokio::test]
async fn fallback_is_in_the_backlog_metrics_until_it_is_synced() {
    let s3 = TestS3::start().await;
    let server = Process::start(&s3, &FLAGS);
    let mut client = server.client().await;
    let denied = s3.fail(FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject));
    let export = committed(&mut client, request(1, "incident report.docx")).await;
    assert_eq!(export.state(), State::FellBack);
    let seen =
        server.scrape_until(|seen| seen.sum("tara_export_backlog_exports", &[]) == 1.0).await;
    let fell_back = [("outcome", "fell_back"), ("requested", "s3"), ("stored_in", "local")];
    expect(&seen, "tara_export_exports_total", &fell_back, 1.0);
    expect(&seen, "tara_export_fallbacks_total", &[("reason", "STORE_DENIED")], 1.0);
    expect(&seen, "tara_export_exports", &[("state", "fell_back")], 1.0);
    expect(&seen, "tara_export_started_total", &[], 1.0);
    assert!(seen.sum("tara_export_backlog_oldest_age_seconds", &[]) > 0.0);
    assert!(seen.sum("tara_export_journal_bytes", &[]) > 100.0);
    expect(&seen, "tara_export_journal_limit_bytes", &[], 16.0 * 1024.0 * 1024.0 * 1024.0);
    assert!(seen.sum("tara_export_s3_requests_total", &[("result", "denied")]) >= 1.0);

    s3.clear_fault(denied);
    let seen = server
        .scrape_until(|seen| {
            seen.sum("tara_export_synced_total", &[]) == 1.0
                && seen.sum("tara_export_backlog_exports", &[]) == 0.0
        })
        .await;
    expect(&seen, "tara_export_backlog_oldest_age_seconds", &[], 0.0);
    expect(&seen, "tara_export_journal_bytes", &[], 0.0);
    // The export is counted once.
    expect(&seen, "tara_export_exports_total", &[], 1.0);
    server.end();
}

#[tokio::test]
async fn metrics_are_off_by_default() {
    let s3 = TestS3::start().await;
    let server = Process::start(&s3, &[]);
    assert_eq!(server.metrics, None);
    let (status, _, _) = get(&format!("{}/metrics", server.address)).await;
    assert_ne!(status, 200, "the API does not serve the metrics");
    let (_, output) = server.end();
    assert_eq!(output, "");
}
