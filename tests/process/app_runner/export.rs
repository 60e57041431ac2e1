//! Exports through the proxy, over several streams.

use std::{net::SocketAddr, time::Duration};

use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tara_export_client::proto::{
    ExportEvent, GetReportRequest, WatchExportRequest, export::State, export_event::Event,
    export_service_client::ExportServiceClient, get_report_request::View,
    get_report_response::Report,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;
use tonic_types::StatusExt as _;
use tonic_web::GrpcWebClientLayer;
use tower::Layer as _;

use super::{proxy::Proxy, service::Service};
use crate::{
    following::{Followed, follow},
    harness::{endpoint, until, within},
    requests::{name, request},
    statuses::expect_status,
};

/// Short versions of the file's 110 s and the platform's 120 s.
const STREAM_TIME: &str = "1s";
const PLATFORM_LIMIT: Duration = Duration::from_secs(3);

async fn bucket() -> TestS3 {
    TestS3::builder().bucket("felix-s3-bucket").start().await.unwrap()
}

/// A gRPC-Web client over HTTP/1.1.
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
async fn export_longer_than_the_request_limit_is_followed_to_its_end() {
    let s3 = bucket().await;
    // The export lasts until the test clears this fault.
    let stalled =
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("readable_report");
    let stalled = s3.fail(stalled);
    let service = Service::start(&s3, STREAM_TIME);
    let proxy = Proxy::start(service.address, PLATFORM_LIMIT).await;
    let mut browser = web_client!(proxy.address);

    let start = browser.start_export(request(1, "incident report.docx"));
    let stream = within("the response", start).await.unwrap().into_inner();
    let Followed { mut events, end } = follow(stream).await;
    let mut end = end.expect_err("the export is still running");
    for _ in 0..2 {
        expect_status(&end, Code::Unavailable, "STREAM_ENDED_EARLY");
        assert!(end.get_error_details().retry_info().is_some(), "the caller gets a retry delay");
        let watch = browser.watch_export(watch_after(&events));
        let stream = within("the response", watch).await.unwrap().into_inner();
        let followed = follow(stream).await;
        events.extend(followed.events);
        end = followed.end.expect_err("the export is still running");
    }
    s3.clear_fault(stalled);
    let watch = browser.watch_export(watch_after(&events));
    let stream = within("the response", watch).await.unwrap().into_inner();
    let followed = follow(stream).await;
    let export = followed.completed();
    events.extend(followed.events);

    // Each event arrives once across all streams.
    let all = Followed { events, end: Ok(()) };
    let sequences: Vec<i64> = all.numbered().iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>(), "{:?}", all.kinds());
    assert_eq!(export.state(), State::Committed);
    assert_eq!(proxy.cuts(), 0, "the server ended every stream before the proxy did");
    assert!(s3.object(&format!("tara/{}/manifest.json", export.folder_name)).is_some());

    let report = GetReportRequest { name: name(1), view: View::Text.into() };
    let report = browser.get_report(report).await.unwrap().into_inner().report;
    assert!(
        matches!(report, Some(Report::Text(text)) if text.starts_with("DOCUMENT REVIEW REPORT"))
    );
}

#[tokio::test]
async fn caller_attaches_again_after_the_proxy_cuts_its_stream() {
    let s3 = bucket().await;
    let stalled =
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("readable_report");
    let stalled = s3.fail(stalled);
    // Without the setting, the proxy ends the stream first.
    let service = Service::start(&s3, "0s");
    let proxy = Proxy::start(service.address, PLATFORM_LIMIT).await;
    let mut browser = web_client!(proxy.address);
    let start = browser.start_export(request(1, "incident report.docx"));
    let stream = within("the response", start).await.unwrap().into_inner();
    let Followed { events, end } = follow(stream).await;
    let end = end.expect_err("the proxy ended the stream");
    assert!(end.get_error_details().error_info().is_none(), "no status arrived: {end:?}");
    assert_eq!(proxy.cuts(), 1);
    assert!(matches!(events[0].event, Some(Event::Accepted(_))));
    s3.clear_fault(stalled);
    let watch = browser.watch_export(watch_after(&events));
    let stream = within("the response", watch).await.unwrap().into_inner();
    assert_eq!(follow(stream).await.completed().state(), State::Committed);
}

#[tokio::test]
async fn startup_warns_about_the_ephemeral_disk() {
    let s3 = bucket().await;
    let service = Service::start(&s3, STREAM_TIME);
    until("the warning", || {
        service.has_logged("EPHEMERAL_DISK: exports that are accepted or fall back")
    })
    .await;
}

#[tokio::test]
async fn proxy_blocks_native_grpc() {
    let s3 = bucket().await;
    let service = Service::start(&s3, STREAM_TIME);
    let proxy = Proxy::start(service.address, PLATFORM_LIMIT).await;
    let error_info = async |address: SocketAddr| {
        let channel = endpoint(address).connect().await.ok()?;
        let report = GetReportRequest { name: name(1), view: View::Text.into() };
        let result = ExportServiceClient::new(channel).get_report(report).await;
        result.err().and_then(|status| status.get_error_details().error_info().cloned())
    };
    assert!(within("the server's response", error_info(service.address)).await.is_some());
    assert!(within("the proxy's response", error_info(proxy.address)).await.is_none());
}
