//! Health and shutdown of the server.

use tara_export::{
    proto::export_service_server::SERVICE_NAME,
    server::{ACCEPTING, LIVENESS},
};
use tara_export_client::proto::{GetExportRequest, WatchExportRequest, export::State};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::{
    browser::get,
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, follow, next, watch},
    harness::{Client, Host, endpoint, within},
    requests::{name, request},
    statuses::expect_status,
};

async fn check(channel: Channel, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(HealthClient::new(channel).check(request).await?.into_inner().status())
}

async fn until_not_serving(mut health: Streaming<HealthCheckResponse>) {
    loop {
        let status = within("a health change", health.message()).await.unwrap().unwrap();
        if status.status() == ServingStatus::NotServing {
            return;
        }
    }
}

#[tokio::test]
async fn running_server_reports_serving() {
    let host = Host::new();
    let server = host.start().await;
    let channel = endpoint(server.address).connect().await.unwrap();
    for service in ["", "tara.export.v1.ExportService", "liveness", "accepting"] {
        assert_eq!(check(channel.clone(), service).await.unwrap(), ServingStatus::Serving);
    }
    assert_eq!(check(channel, "no.such.Service").await.unwrap_err().code(), Code::NotFound);
    let (status, body) = get(server.address, "/healthz").await;
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    let (status, body) = get(server.address, "/livez").await;
    assert_eq!((status, body.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn stopping_server_finishes_its_exports_and_accepts_no_more() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = ["--s3-retry-budget=10m", "--shutdown-timeout=10m"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let stream = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    let channel = endpoint(server.address).connect().await.unwrap();
    let watch = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    let health = HealthClient::new(channel.clone()).watch(watch).await.unwrap().into_inner();

    let (address, mut client) = (server.address, server.client);
    let stopping = tokio::spawn(server.running.shut_down());
    until_not_serving(health).await;
    for service in ["", SERVICE_NAME, ACCEPTING] {
        assert_eq!(check(channel.clone(), service).await.unwrap(), ServingStatus::NotServing);
    }
    assert_eq!(get(address, "/healthz").await.0, 503);
    // It makes progress, so it must not be restarted.
    assert_eq!(check(channel.clone(), LIVENESS).await.unwrap(), ServingStatus::Serving);
    assert_eq!(get(address, "/livez").await.0, 200);
    let status = client.start_export(request(2, "incident report.docx")).await.unwrap_err();
    expect_status(&status, Code::Unavailable, "SHUTTING_DOWN");
    // The running export is reported to its end and can still be read.
    let get_export = GetExportRequest { name: name(1) };
    let running = client.get_export(get_export).await.unwrap().into_inner().export.unwrap();
    assert_eq!(running.state(), State::Running);
    assert!(!stopping.is_finished());

    s3.set(Mode::Works);
    let export = follow(stream).await.completed();
    bundles::verify(&s3.root().join(&export.folder_name));
    drop((client, channel));
    within("the server to stop", stopping).await.unwrap();
    assert!(endpoint(address).connect().await.is_err(), "the server still listens");
}

#[tokio::test]
async fn streams_end_early_when_exports_do_not_finish_in_time() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let flags = ["--s3-retry-budget=10m", "--shutdown-timeout=0s"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let mut starting = start.await.unwrap().into_inner();
    next(&mut starting).await;
    s3.until_held(1).await;
    // The stream of another replica, which follows the export through the store, ends as well.
    let other = Host::with_s3(s3.clone()).flags(&["--shutdown-timeout=0s"]);
    let mut other = other.start().await;
    let request = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let following = other.client.watch_export(request).await.unwrap().into_inner();

    let (ended, ()) = futures::join!(follow(starting), server.running.shut_down());
    expect_status(&ended.end.unwrap_err(), Code::Unavailable, "STREAM_ENDED_EARLY");
    let (ended, ()) = futures::join!(follow(following), other.running.shut_down());
    expect_status(&ended.end.unwrap_err(), Code::Unavailable, "STREAM_ENDED_EARLY");
}

#[tokio::test]
async fn open_connections_do_not_delay_the_shutdown() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let _open = std::net::TcpStream::connect(server.address).unwrap();
    let health = HealthClient::new(endpoint(server.address).connect().await.unwrap())
        .watch(HealthCheckRequest::default())
        .await
        .unwrap();
    within("the server to stop", server.running.shut_down()).await;
    drop(health);
}

#[tokio::test]
async fn committed_export_is_found_after_a_restart() {
    let host = Host::new();
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    let mut server = host.start().await;
    let found = watch(&mut server.client, &name(1)).await.completed();
    assert_eq!(found.manifest_sha256, first.manifest_sha256);
}

#[tokio::test]
async fn concurrent_calls_on_one_connection_all_get_responses() {
    let host = Host::new().flags(&["--max-concurrent-streams=4"]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let calls = (0..50).map(|_| {
        let mut client: Client = server.client.clone();
        async move { client.get_export(GetExportRequest { name: name(1) }).await.unwrap() }
    });
    assert_eq!(within("50 calls", futures::future::join_all(calls)).await.len(), 50);
}
