//! Exports through the proxy, over as many streams as it takes.

use std::{net::SocketAddr, time::Duration};

use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tara_export::proto::{
    ExportEvent, GetReportRequest, WatchExportRequest, export::State, export_event::Event,
    export_service_client::ExportServiceClient, get_report_request::View,
    get_report_response::Report,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;
use tonic_types::StatusExt as _;
use tonic_web::GrpcWebClientLayer;
use tower::Layer as _;

use crate::{
    following::{Followed, follow},
    harness::{endpoint, until, within},
    proxy::Proxy,
    requests::{name, request},
    service::Service,
    statuses::expect_status,
};

/// The file's 110 s and the platform's 120 s, in short.
const STREAM_TIME: &str = "1s";
const PLATFORM_LIMIT: Duration = Duration::from_secs(3);

async fn bucket() -> TestS3 {
    TestS3::builder().bucket("felix-s3-bucket").start().await.unwrap()
}

/// A caller who speaks gRPC-Web over HTTP/1.1.
macro_rules! web_client {
    ($address:expr) => {{
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        let origin = format!("http://{}", $address).parse().unwrap();
        ExportServiceClient::with_origin(GrpcWebClientLayer::new().layer(http), origin)
    }};
}

fn last_sequence(events: &[ExportEvent]) -> i64 {
    events.iter().map(|event| event.sequence).max().unwrap_or_default()
}

fn watch_after(events: &[ExportEvent]) -> WatchExportRequest {
    WatchExportRequest {
        name: name(1),
        run_id: events.first().map(|event| event.run_id.clone()).unwrap_or_default(),
        after_sequence: last_sequence(events),
    }
}

#[tokio::test]
async fn an_export_longer_than_a_request_may_be_is_followed_to_its_end() {
    let s3 = bucket().await;
    // Answered when the test says so: until then the export lasts.
    let stalled =
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("readable_report");
    let stalled = s3.fail(stalled);
    let service = Service::start(&s3, STREAM_TIME);
    let proxy = Proxy::start(service.address, PLATFORM_LIMIT).await;
    let mut browser = web_client!(proxy.address);

    let start = browser.start_export(request(1, "incident report.docx"));
    let stream = within("the answer", start).await.unwrap().into_inner();
    let Followed { mut events, end } = follow(stream).await;
    let mut end = end.expect_err("the export still goes on");
    for _ in 0..2 {
        expect_status(&end, Code::Unavailable, "STREAM_ENDED_EARLY");
        assert!(
            end.get_error_details().retry_info().is_some(),
            "the caller is told when to come back"
        );
        let watch = browser.watch_export(watch_after(&events));
        let stream = within("the answer", watch).await.unwrap().into_inner();
        let followed = follow(stream).await;
        events.extend(followed.events);
        end = followed.end.expect_err("the export still goes on");
    }
    s3.clear_fault(stalled);
    let watch = browser.watch_export(watch_after(&events));
    let stream = within("the answer", watch).await.unwrap().into_inner();
    let followed = follow(stream).await;
    let export = followed.completed();
    events.extend(followed.events);

    // Every event once, over all streams.
    let all = Followed { events, end: Ok(()) };
    let sequences: Vec<i64> = all.numbered().iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>(), "{:?}", all.kinds());
    assert_eq!(export.state(), State::Committed);
    assert_eq!(proxy.cuts(), 0, "every stream ended before the proxy cut it");
    assert!(s3.object(&format!("tara/{}/manifest.json", export.folder_name)).is_some());

    let report = GetReportRequest { name: name(1), view: View::Text.into() };
    let report = browser.get_report(report).await.unwrap().into_inner().report;
    assert!(
        matches!(report, Some(Report::Text(text)) if text.starts_with("DOCUMENT REVIEW REPORT"))
    );
}

#[tokio::test]
async fn a_caller_who_is_cut_off_attaches_again() {
    let s3 = bucket().await;
    let stalled =
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("readable_report");
    let stalled = s3.fail(stalled);
    // As without the setting: the proxy is first.
    let service = Service::start(&s3, "0s");
    let proxy = Proxy::start(service.address, PLATFORM_LIMIT).await;
    let mut browser = web_client!(proxy.address);
    let start = browser.start_export(request(1, "incident report.docx"));
    let stream = within("the answer", start).await.unwrap().into_inner();
    let Followed { events, end } = follow(stream).await;
    let end = end.expect_err("the proxy cut it");
    assert!(end.get_error_details().error_info().is_none(), "no status came: {end:?}");
    assert_eq!(proxy.cuts(), 1);
    assert!(matches!(events[0].event, Some(Event::Accepted(_))));
    s3.clear_fault(stalled);
    let watch = browser.watch_export(watch_after(&events));
    let stream = within("the answer", watch).await.unwrap().into_inner();
    assert_eq!(follow(stream).await.completed().state(), State::Committed);
}

#[tokio::test]
async fn the_start_says_what_the_disk_is_worth() {
    let s3 = bucket().await;
    let service = Service::start(&s3, STREAM_TIME);
    until("the warning", || service.has_logged("EPHEMERAL_DISK: what is accepted or falls back"))
        .await;
}

#[tokio::test]
async fn the_proxy_lets_no_native_grpc_through() {
    let s3 = bucket().await;
    let service = Service::start(&s3, STREAM_TIME);
    let proxy = Proxy::start(service.address, PLATFORM_LIMIT).await;
    let through = async |address: SocketAddr| {
        let channel = endpoint(address).connect().await.ok()?;
        let report = GetReportRequest { name: name(1), view: View::Text.into() };
        let answer = ExportServiceClient::new(channel).get_report(report).await;
        answer.err().and_then(|status| status.get_error_details().error_info().cloned())
    };
    assert!(within("the server's answer", through(service.address)).await.is_some());
    assert!(within("the proxy's answer", through(proxy.address)).await.is_none());
}
