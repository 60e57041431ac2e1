//! Traces from the caller's call to each request to S3, and logs that name them.

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use serde_json::Value;
use tara_export::proto::{GetReportRequest, StartExportRequest};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Request;

use crate::{
    collector::{Collector, attribute},
    following::{committed, follow},
    harness::Client,
    process::Process,
    requests::{id, name, request},
};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

/// A request with the W3C header of a caller who traces, or has decided not to.
fn traced<T>(message: T, is_sampled: bool) -> Request<T> {
    let mut request = Request::new(message);
    let flags = if is_sampled { "01" } else { "00" };
    let header = format!("00-{TRACE_ID}-{CALLERS_SPAN}-{flags}");
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

// The collector must answer while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_caller_to_each_request_to_s3() {
    let (s3, collector) = (TestS3::start().await, Collector::start().await);
    let endpoint = format!("--trace-otlp-endpoint={}", collector.url);
    let server = Process::start(&s3, &[&endpoint, "--trace-sample-ratio=0"]);
    let mut client = server.client().await;
    // Not traced: the caller says nothing, and the ratio is none. It warms the probe of S3 up.
    committed(&mut client, request(1, "first.docx")).await;
    s3.reset_requests();
    let slow = FaultRule::new(Fault::SLOW_DOWN).on(Operation::PutObject);
    s3.fail(slow.key_ends_with("manifest.json").times(1));
    export(&mut client, request(2, "incident report.docx"), true).await;
    let sent = s3.requests().len();
    // The report is read by a call of its own.
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
    assert_eq!(hex(&call.parent_span_id), CALLERS_SPAN);
    assert_eq!(call.kind(), SpanKind::Server);
    assert_eq!(attribute(call, "rpc.method").as_deref(), Some("StartExport"));
    assert_eq!(attribute(call, "rpc.grpc.status_code").as_deref(), Some("0"));
    let exports = named("export");
    assert_eq!(exports.len(), 1);
    assert_eq!(exports[0].parent_span_id, call.span_id);
    assert_eq!(attribute(exports[0], "export_id"), Some(id(2)));

    let of_export: Vec<&Span> =
        spans.iter().filter(|span| span.parent_span_id == exports[0].span_id).collect();
    assert_eq!(of_export.len(), sent, "one for each request to S3");
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

    // No header of W3C goes to S3: it is not its caller.
    assert!(s3.requests().iter().all(|request| request.header("traceparent").is_none()));

    // One line tells the whole export, with its trace.
    let completed = lines_of(&log, "export completed");
    assert_eq!(completed.len(), 3, "{log:#?}");
    let line = completed.iter().find(|line| line["export_id"] == id(2)).unwrap();
    assert_eq!(line["trace_id"], TRACE_ID);
    for (field, value) in [("outcome", "committed"), ("asked", "s3"), ("got", "s3")] {
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

// The collector must answer while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread")]
async fn logs_name_the_caller_s_trace_also_where_none_are_sent() {
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

// The collector must answer while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nobody_up() {
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
    // Each has a trace of its own.
    let ids: std::collections::HashSet<String> =
        completed.iter().map(|line| line["trace_id"].to_string()).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
}
