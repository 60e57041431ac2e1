//! Download links: created through the API, and read directly from S3.

use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Duration;
use tara_export_client::proto::{
    CreateDownloadLinkRequest, CreateDownloadLinkResponse, export::State,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::{Code, Status};

use crate::{
    following::{committed, export},
    harness::{
        Client, Host,
        http::get,
        s3::{settings, store_of, store_with},
        within,
    },
    requests::{document, name, request},
    statuses::{expect_invalid, expect_status},
};

async fn link(
    client: &mut Client,
    path: &str,
    time_to_live: Option<Duration>,
) -> Result<CreateDownloadLinkResponse, Status> {
    let request = CreateDownloadLinkRequest { name: name(1), path: path.to_owned(), time_to_live };
    within("the link", client.create_download_link(request)).await.map(tonic::Response::into_inner)
}

fn expiry(link: &CreateDownloadLinkResponse) -> DateTime<Utc> {
    SystemTime::try_from(link.expire_time.unwrap()).unwrap().into()
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

#[tokio::test]
async fn link_downloads_every_file_of_a_bundle() {
    let s3 = TestS3::start().await;
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let mut request = request(1, "incident report.docx");
    request.documents[0] = tara_export_client::proto::Document {
        file_name: "C:\\reviews\\Vorfall \u{202e}ä\".docx".to_owned(),
        ..document(tara_export_client::proto::document::Kind::Before, "as it was")
    };
    let export = committed(&mut server.client, request).await;
    let paths = export.artifacts.iter().map(|artifact| artifact.path.as_str());
    for path in paths.chain(["manifest.json"]) {
        let start = Utc::now();
        let link = link(&mut server.client, path, None).await.unwrap();
        let lifetime = (expiry(&link) - start).num_seconds();
        assert!((898..=901).contains(&lifetime), "15 minutes: {lifetime}");
        let (status, headers, body) = get(&link.uri).await;
        assert_eq!(status.as_u16(), 200, "{path}");
        let object = s3.object(&format!("tara/{}/{path}", export.folder_name)).unwrap();
        assert!(body == object.bytes, "{path}");
        let disposition = headers["content-disposition"].to_str().unwrap();
        let saved = match path {
            path if path.starts_with("documents/before_") => "Vorfall%20_%C3%A4_.docx",
            path => path.rsplit('/').next().unwrap(),
        };
        assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
        assert!(disposition.ends_with(&format!("filename*=UTF-8''{saved}")), "{disposition}");
        let artifact = export.artifacts.iter().find(|artifact| artifact.path == path);
        let media_type = artifact.map_or("application/json", |artifact| &artifact.media_type);
        assert_eq!(headers["content-type"], media_type, "{path}");
    }
    // A link works for its own file only.
    let link = link(&mut server.client, "readable_report.txt", seconds(60)).await.unwrap();
    let (status, ..) = get(&link.uri.replace("readable_report.txt", "manifest.json")).await;
    assert_eq!(status.as_u16(), 403);
}

#[tokio::test]
async fn link_expires_with_the_credentials_that_signed_it() {
    let s3 = TestS3::start().await;
    let end = Utc::now() + TimeDelta::minutes(20);
    let credentials =
        Credentials::new(s3.access_key(), s3.secret_key(), None, Some(end.into()), "a role");
    let store = store_with(settings(&s3.endpoint(), s3.bucket()), credentials);
    let mut server = Host::with_s3(store).start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let hour = link(&mut server.client, "manifest.json", seconds(3600)).await.unwrap();
    assert!(expiry(&hour) <= end && end - expiry(&hour) < TimeDelta::seconds(2));
    assert_eq!(get(&hour.uri).await.0.as_u16(), 200);
    // A shorter lifetime is returned as requested.
    let start = Utc::now();
    let minute = link(&mut server.client, "manifest.json", seconds(60)).await.unwrap();
    assert!((expiry(&minute) - start).num_seconds() <= 60);
}

#[tokio::test]
async fn bundle_on_local_disk_has_no_links() {
    let s3 = TestS3::start().await;
    let refusal = Fault::Respond { status: 403, code: "AccessDenied" };
    s3.fail(FaultRule::new(refusal).on(Operation::PutObject));
    for host in [Host::new(), Host::with_s3(store_of(&s3))] {
        let mut server = host.start().await;
        let export = export(&mut server.client, request(1, "a.docx")).await.completed();
        assert!(matches!(export.state(), State::Committed | State::FellBack));
        let status = link(&mut server.client, "manifest.json", None).await.unwrap_err();
        expect_status(&status, Code::FailedPrecondition, "STORED_LOCALLY");
        assert!(status.message().contains("DownloadArtifact"), "{}", status.message());
        // A file that is not in the bundle is reported as not found, not as stored locally.
        let status = link(&mut server.client, "documents/none.docx", None).await.unwrap_err();
        expect_status(&status, Code::NotFound, "ARTIFACT_NOT_FOUND");
    }
}

#[tokio::test]
async fn invalid_link_request_is_refused_naming_the_field() {
    let s3 = TestS3::start().await;
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    for wrong in [
        seconds(0),
        seconds(-1),
        seconds(7 * 86_400 + 1),
        seconds(i64::MAX),
        Some(Duration { seconds: 0, nanos: 999_999_999 }),
        Some(Duration { seconds: 7 * 86_400, nanos: 1 }),
    ] {
        let status = link(&mut server.client, "manifest.json", wrong).await.unwrap_err();
        assert!(expect_invalid(&status, "time_to_live").contains("1 s to 7 days"));
    }
    for right in [seconds(1), seconds(7 * 86_400), Some(Duration { seconds: 1, nanos: 5 })] {
        link(&mut server.client, "manifest.json", right).await.unwrap();
    }
    let status = link(&mut server.client, "../manifest.json", None).await.unwrap_err();
    expect_invalid(&status, "path");
    let status = link(&mut server.client, "documents/none.docx", None).await.unwrap_err();
    expect_status(&status, Code::NotFound, "ARTIFACT_NOT_FOUND");
    let unknown = CreateDownloadLinkRequest {
        name: name(2),
        path: "manifest.json".to_owned(),
        time_to_live: None,
    };
    let status = server.client.create_download_link(unknown).await.unwrap_err();
    expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
}

#[tokio::test]
async fn link_to_a_missing_or_damaged_file_is_data_loss() {
    let s3 = TestS3::start().await;
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let export = committed(&mut server.client, request(1, "a.docx")).await;
    let key = format!("tara/{}/readable_report.txt", export.folder_name);
    s3.put_raw(&key, "another report");
    let status = link(&mut server.client, "readable_report.txt", None).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    s3.remove(&key);
    let status = link(&mut server.client, "readable_report.txt", None).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
}
