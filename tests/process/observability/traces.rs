//! Traces from the caller's call to each S3 request, and trace ids in logs.

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use serde_json::Value;
use tara_export_client::proto::{GetReportRequest, StartExportRequest};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Request;

use super::{
    collector::{Collector, attribute},
    process::Process,
};
use crate::{
    following::{committed, follow},
    harness::Client,
    requests::{id, name, request},
};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN_ID: &str = "00f067aa0ba902b7";

/// A request with a W3C `traceparent` header, sampled or not.
fn traced<T>(message: T, is_sampled: bool) -> Request<T> {
    let mut request = Request::new(message);
    let flags = if is_sampled { "01" } else { "00" };
    let header = format!("00-{TRACE_ID}-{CALLER_SPAN_ID}-{flags}");
    request.metadata_mut().insert("traceparent", header.parse().unwrap());
    request
}

async fn export(client: &mut Client, message: StartExportRequest, is_sampled: bool) {
    let stream = client.start_export(traced(message, is_sampled)).await.unwrap().into_inner();
    follow(stream).await.completed();
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn lines_of<'a>(log: &'a [Value], message: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["message"] == message).collect()
}

// The collector must respond while the test waits for the server to stop.
#[tokio::test(flavor = "multi_thread")]
async fn trace_covers_the_call_and_each_s3_request() {
    let (s3, collector) = (TestS3::start().await, Collector::start().await);
    let endpoint = format!("--trace-otlp-endpoint={}", collector.url);
    let server = Process::start(&s3, &[&endpoint, "--trace-sample-ratio=0"]);
    let mut client = server.client().await;
    // Not traced: the caller sends no header, and the ratio is 0. It also completes the probe of S3.
    committed(&mut client, request(1, "first.docx")).await;
    s3.reset_requests();
    let slow = FaultRule::new(Fault::SLOW_DOWN).on(Operation::PutObject);
    s3.fail(slow.key_ends_with("manifest.json").times(1));
    export(&mut client, request(2, "incident report.docx"), true).await;
    let sent = s3.requests().len();
    // A separate call reads the report.
    let report = GetReportRequest { name: name(2), ..GetReportRequest::default() };
    client.get_report(traced(report, true)).await.unwrap();
    export(&mut client, request(3, "untraced.docx"), false).await;
    let (log, _) = server.end();

    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE_ID), "{spans:#?}");
    let named =
        |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let calls = named("tara.export.v1.ExportService/StartExport");
    assert_eq!(calls.len(), 1, "{spans:#?}");
    let call = calls[0];
    assert_eq!(hex(&call.parent_span_id), CALLER_SPAN_ID);
    assert_eq!(call.kind(), SpanKind::Server);
    assert_eq!(attribute(call, "rpc.method").as_deref(), Some("StartExport"));
    assert_eq!(attribute(call, "rpc.grpc.status_code").as_deref(), Some("0"));
    let exports = named("export");
    assert_eq!(exports.len(), 1);
    assert_eq!(exports[0].parent_span_id, call.span_id);
    assert_eq!(attribute(exports[0], "export_id"), Some(id(2)));

    let of_export: Vec<&Span> =
        spans.iter().filter(|span| span.parent_span_id == exports[0].span_id).collect();
    assert_eq!(of_export.len(), sent, "one span per S3 request");
    for request in &of_export {
        assert_eq!(request.kind(), SpanKind::Client);
        assert_eq!(attribute(request, "rpc.service").as_deref(), Some("S3"));
        assert!(request.name.starts_with("S3."), "{request:?}");
        assert!(request.end_time_unix_nano >= request.start_time_unix_nano);
    }
    let throttled: Vec<&&Span> = of_export
        .iter()
        .filter(|span| attribute(span, "result").as_deref() == Some("throttled"))
        .collect();
    assert_eq!(throttled.len(), 1);
    assert_eq!(throttled[0].name, "S3.PutObject");
    assert_eq!(attribute(throttled[0], "http.response.status_code").as_deref(), Some("503"));
    assert_eq!(throttled[0].status.as_ref().map(|status| status.code()), Some(StatusCode::Error));
    assert_eq!(named("tara.export.v1.ExportService/GetReport").len(), 1);

    // S3 requests have no W3C headers.
    assert!(s3.requests().iter().all(|request| request.header("traceparent").is_none()));

    // One log line summarizes the export, with its trace id.
    let completed = lines_of(&log, "export completed");
    assert_eq!(completed.len(), 3, "{log:#?}");
    let line = completed.iter().find(|line| line["export_id"] == id(2)).unwrap();
    assert_eq!(line["trace_id"], TRACE_ID);
    for (field, value) in [("outcome", "committed"), ("requested", "s3"), ("stored_in", "s3")] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line["artifacts"], 12);
    assert_eq!(line["retries"], 1);
    assert_eq!(line["session_id"], "session-1");
    assert!(line["duration_ms"].as_u64().unwrap() > 0, "{line}");
    assert!(line["size_bytes"].as_u64().unwrap() > 1000, "{line}");
    let location = line["location"].as_str().unwrap();
    assert!(location.starts_with("s3://") && location.contains("incident_report"), "{line}");
    let retrying = lines_of(&log, "retrying");
    assert!(retrying.iter().all(|line| line["trace_id"] == TRACE_ID) && !retrying.is_empty());
}

// The collector must respond while the test waits for the server to stop.
#[tokio::test(flavor = "multi_thread")]
async fn logs_name_the_trace_of_the_caller_without_a_collector() {
    let s3 = TestS3::start().await;
    let server = Process::start(&s3, &[]);
    let mut client = server.client().await;
    export(&mut client, request(1, "incident report.docx"), false).await;
    committed(&mut client, request(2, "incident report.docx")).await;
    let (log, _) = server.end();
    let completed = lines_of(&log, "export completed");
    assert_eq!(completed[0]["trace_id"], TRACE_ID);
    assert_eq!(completed[1]["trace_id"], Value::Null);
}

// The collector must respond while the test waits for the server to stop.
#[tokio::test(flavor = "multi_thread")]
async fn unavailable_collector_does_not_delay_exports() {
    let s3 = TestS3::start().await;
    let endpoint = ["--trace-otlp-endpoint=http://127.0.0.1:9", "--trace-sample-ratio=1"];
    let server = Process::start(&s3, &endpoint);
    let mut client = server.client().await;
    for number in 1..=5 {
        committed(&mut client, request(number, "incident report.docx")).await;
    }
    let (log, _) = server.end();
    let completed = lines_of(&log, "export completed");
    assert_eq!(completed.len(), 5);
    // Each export has its own trace.
    let ids: std::collections::HashSet<String> =
        completed.iter().map(|line| line["trace_id"].to_string()).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
}
