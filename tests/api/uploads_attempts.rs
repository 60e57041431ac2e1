//! Unfinished uploads belong to the requests that created them: they do not affect each other, and their number has no
//! limit.

use std::fs;

use bytes::Bytes;
use chrono::TimeDelta;
use futures::{StreamExt as _, future::join_all, stream};
use tara_export_store::{ObjectChecksum, ObjectKey, Payload};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    following::committed,
    harness::{
        Client, Host, connect_from,
        s3::store_of,
        until,
        uploads::{PART, bytes, chunk, create, get, messages, naming, send, sha256},
        within,
    },
    statuses::expect_status,
};

/// The previous protocol had sixteen ids for each content.
const MANY: u32 = 20;
const ATTACKER: [u8; 4] = [127, 0, 0, 2];
const HONEST: [u8; 4] = [127, 0, 0, 3];
/// A slow machine must not cause uploads to disk.
const LONG_ACCEPT_TIMEOUT: [&str; 1] = ["--accept-timeout=60s"];

/// A host of each kind of store, with the S3 that it uses.
async fn hosts() -> [(Option<TestS3>, Host); 2] {
    let s3 = TestS3::start().await;
    let with_s3 = Host::with_s3(store_of(&s3));
    [(None, Host::new()), (Some(s3), with_s3)]
        .map(|(s3, host)| (s3, host.flags(&["--upload-retention=1h"]).flags(&LONG_ACCEPT_TIMEOUT)))
}

fn two_hosts(s3: &TestS3) -> (Host, Host) {
    let host = || Host::with_s3(store_of(s3)).flags(&LONG_ACCEPT_TIMEOUT);
    (host(), host())
}

async fn expect_uploaded(client: &mut Client, name: &str, content: &Bytes) {
    let upload = send(client, name, content, 0).await.unwrap();
    assert_eq!(upload.sha256, sha256(content));
}

#[tokio::test]
async fn wrong_bytes_do_not_block_the_announced_document() {
    for (_s3, host) in hosts().await {
        let mut client = host.start().await.client;
        let (document, wrong) = (bytes(1000, 1), bytes(1000, 2));
        let digest = sha256(&document);
        for round in 0..MANY {
            // Under separate ids, without an id, and repeatedly under one id.
            for number in [100 + round, 0, 1] {
                let name = create(&mut client, number, 1000, &digest).await.unwrap().name;
                let status = send(&mut client, &name, &wrong, 0).await.unwrap_err();
                expect_status(&status, Code::Aborted, "UPLOAD_ABORTED");
            }
        }
        // Also under the id whose attempts all failed.
        for number in [1, 2] {
            let name = create(&mut client, number, 1000, &digest).await.unwrap().name;
            assert_eq!(send(&mut client, &name, &document, 0).await.unwrap().sha256, digest);
        }
        let name = create(&mut client, 3, 1000, &digest).await.unwrap().name;
        committed(&mut client, naming(1, &name)).await;
    }
}

#[tokio::test]
async fn expired_attempts_do_not_count() {
    for (_s3, host) in hosts().await {
        let mut client = host.start().await.client;
        let document = bytes(1000, 1);
        for digest in [sha256(&document), String::new()] {
            let mut names = Vec::new();
            for _ in 0..MANY {
                names.push(create(&mut client, 1, 1000, &digest).await.unwrap().name);
                host.clock.advance(TimeDelta::hours(2));
            }
            let name = create(&mut client, 1, 1000, &digest).await.unwrap().name;
            assert!(!names.contains(&name));
            expect_uploaded(&mut client, &name, &document).await;
            // A finished one expires too.
            host.clock.advance(TimeDelta::hours(2));
            let name = create(&mut client, 1, 1000, &digest).await.unwrap().name;
            expect_uploaded(&mut client, &name, &document).await;
            host.clock.advance(TimeDelta::hours(2));
        }
    }
}

#[tokio::test]
async fn callers_with_one_document_at_two_replicas_are_independent() {
    let s3 = TestS3::start().await;
    let (one, other) = two_hosts(&s3);
    let (one, other) = (one.start().await, other.start().await);
    let mut attacker = connect_from(ATTACKER, one.address).await;
    let mut honest = connect_from(HONEST, other.address).await;
    let document = bytes(2 * PART + 1, 1);
    let (size, digest) = (document.len(), sha256(&document));
    // Both under one request id, as if the attacker knew it.
    let name = create(&mut honest, 1, size, &digest).await.unwrap().name;
    let part = |number: usize| document.slice(number * PART..size.min((number + 1) * PART));
    chunk(&mut honest, &name, 0, part(0), false).await.unwrap();
    let mut names = vec![name.clone()];
    let mut create_separate = async |client: &mut Client| {
        let upload = create(client, 1, size, &digest).await.unwrap();
        assert_eq!((upload.committed_size_bytes, upload.sha256.as_str()), (0, ""));
        assert!(!names.contains(&upload.name), "{names:?}");
        names.push(upload.name.clone());
        upload.name
    };
    // The attacker sends other bytes, to the end.
    let wrong = create_separate(&mut attacker).await;
    let status = send(&mut attacker, &wrong, &bytes(size, 2), 0).await.unwrap_err();
    expect_status(&status, Code::Aborted, "UPLOAD_ABORTED");
    // Another stream of the attacker stalls.
    let stalled = create_separate(&mut attacker).await;
    let (sender, receiver) = mpsc::channel(1);
    sender.send(messages(&stalled, &bytes(size, 3), 0, true).remove(0)).await.unwrap();
    let mut caller = attacker.clone();
    let stalling =
        tokio::spawn(async move { caller.upload_document(ReceiverStream::new(receiver)).await });
    // The honest caller continues its upload, on another replica too.
    let mut elsewhere = connect_from(HONEST, one.address).await;
    assert_eq!(create(&mut elsewhere, 1, size, &digest).await.unwrap().name, name);
    chunk(&mut elsewhere, &name, PART, part(1), false).await.unwrap();
    let upload = chunk(&mut honest, &name, 2 * PART, part(2), true).await.unwrap();
    assert_eq!(upload.sha256, digest);
    // Finished content is found by its digest.
    for client in [&mut attacker, &mut honest] {
        for number in [0, 1, 9] {
            assert_eq!(create(client, number, size, &digest).await.unwrap(), upload);
        }
    }
    drop(sender);
    let ended = within("the stalled stream", stalling).await.unwrap().unwrap();
    assert_eq!(ended.into_inner().upload.unwrap().sha256, "");
    committed(&mut honest, naming(1, &name)).await;
}

#[tokio::test]
async fn digest_alone_does_not_reveal_an_unfinished_upload() {
    for (_s3, host) in hosts().await {
        let server = host.start().await;
        let mut one = connect_from(HONEST, server.address).await;
        let mut other = connect_from(ATTACKER, server.address).await;
        let document = bytes(PART + 1, 1);
        let digest = sha256(&document);
        let name = create(&mut one, 1, document.len(), &digest).await.unwrap().name;
        chunk(&mut one, &name, 0, document.slice(..PART), false).await.unwrap();
        for number in [0, 1, 2] {
            let upload = create(&mut other, number, document.len(), &digest).await.unwrap();
            assert_ne!(upload.name, name);
            assert_eq!(upload.committed_size_bytes, 0);
        }
        // Content without an announced digest is not found by its digest.
        let unnamed = create(&mut one, 3, 1000, "").await.unwrap().name;
        expect_uploaded(&mut one, &unnamed, &bytes(1000, 5)).await;
        let upload = create(&mut other, 4, 1000, &sha256(&bytes(1000, 5))).await.unwrap();
        assert_eq!(upload.sha256, "");
        assert_ne!(upload.name, unnamed);
    }
}

#[tokio::test]
async fn concurrent_identical_creations_make_one_upload() {
    let s3 = TestS3::start().await;
    let (one, other) = two_hosts(&s3);
    let (one, other) = (one.start().await, other.start().await);
    for (number, digest) in [(1, String::new()), (2, sha256(&bytes(1000, 1)))] {
        let creations = (0..8).map(|call| {
            let mut client = if call % 2 == 0 { one.client.clone() } else { other.client.clone() };
            let digest = &digest;
            async move { create(&mut client, number, 1000, digest).await.unwrap().name }
        });
        let names = join_all(creations).await;
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        // Calls that came too late left no multipart uploads.
        assert_eq!(s3.open_uploads(), number as usize);
    }
}

#[tokio::test]
async fn lost_response_to_a_creation_makes_no_second_upload() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&LONG_ACCEPT_TIMEOUT);
    let mut client = host.start().await.client;
    for (number, key) in [(1, "/upload.json"), (2, "/uploads/requests/")] {
        let lost = FaultRule::new(Fault::ResetAfter).on(Operation::PutObject).key_contains(key);
        let lost = s3.fail(lost.times(1));
        let name = create(&mut client, number, 1000, "").await.unwrap().name;
        assert_eq!(s3.fault_hits(lost), 1, "{key}");
        assert_eq!(create(&mut client, number, 1000, "").await.unwrap().name, name);
        assert_eq!(s3.open_uploads(), number as usize);
    }
}

#[tokio::test]
async fn finished_upload_is_not_changed_by_another_stream() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&LONG_ACCEPT_TIMEOUT);
    let server = host.start().await;
    let mut attacker = connect_from(ATTACKER, server.address).await;
    let mut honest = connect_from(HONEST, server.address).await;
    let (document, wrong) = (bytes(PART, 1), bytes(PART, 2));
    let digest = sha256(&document);
    let name = create(&mut attacker, 1, PART, &digest).await.unwrap().name;
    // A stream has sent other bytes when another one finishes the upload.
    let (sender, receiver) = mpsc::channel(1);
    let mut caller = attacker.clone();
    let sending =
        tokio::spawn(async move { caller.upload_document(ReceiverStream::new(receiver)).await });
    for message in messages(&name, &wrong, 0, false) {
        within("the server to read on", sender.send(message)).await.unwrap();
    }
    let is_stored =
        || s3.requests_of(Operation::UploadPart).iter().any(|part| part.status.is_some());
    until("the wrong bytes to be stored", is_stored).await;
    expect_uploaded(&mut attacker, &name, &document).await;
    assert_eq!(create(&mut honest, 1, PART, &digest).await.unwrap().name, name);
    drop(sender);
    let status = within("the other stream", sending).await.unwrap().unwrap_err();
    expect_status(&status, Code::Aborted, "UPLOAD_ABORTED");
    // Other callers have the name by now.
    let mut elsewhere =
        Host::with_s3(store_of(&s3)).flags(&LONG_ACCEPT_TIMEOUT).start().await.client;
    assert_eq!(get(&mut elsewhere, &name).await.unwrap().sha256, digest);
    assert_eq!(create(&mut elsewhere, 2, PART, &digest).await.unwrap().name, name);
    committed(&mut elsewhere, naming(1, &name)).await;
}

/// Two calls under one request id that send different bytes, without an announced digest.
#[tokio::test]
async fn upload_of_mixed_bytes_is_aborted_and_can_be_created_again() {
    let s3 = TestS3::start().await;
    let (one, other) = two_hosts(&s3);
    let (mut one, mut other) = (one.start().await.client, other.start().await.client);
    let name = create(&mut one, 1, 2 * PART, "").await.unwrap().name;
    // The first call has read an empty upload when the second call's part is stored.
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::UploadPart).times(1));
    let faster = async {
        until("the slower stream to be blocked", || s3.fault_hits(held) == 1).await;
        chunk(&mut one, &name, 0, bytes(PART, 1), false).await.unwrap();
        s3.clear_fault(held);
    };
    let (slower, ()) = futures::join!(chunk(&mut other, &name, 0, bytes(PART, 2), false), faster);
    expect_status(&slower.unwrap_err(), Code::Aborted, "UPLOAD_ABORTED");
    let status = get(&mut one, &name).await.unwrap_err();
    expect_status(&status, Code::NotFound, "UPLOAD_NOT_FOUND");
    let again = create(&mut one, 1, 2 * PART, "").await.unwrap();
    assert_eq!(again.committed_size_bytes, 0);
    expect_uploaded(&mut one, &again.name, &bytes(2 * PART, 1)).await;
}

#[tokio::test]
async fn uploads_of_the_previous_release_can_be_finished_and_found() {
    let s3 = TestS3::start().await;
    let store = store_of(&s3);
    let id = "6f1c7a52-3b0e-4c59-9d7e-000000000001";
    let name = format!("uploads/{id}");
    let content = bytes(PART + 1, 1);
    let digest = sha256(&content);
    let mut record = serde_json::json!({
        "upload_id": id,
        "size_bytes": content.len(),
        "sha256": digest,
        "created_time": crate::harness::START,
    });
    let on_disk = Host::new();
    let folder = on_disk.data_dir().join(".tara-export").join(&name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("upload.json"), record.to_string()).unwrap();
    let key = |file: &str| ObjectKey::new(format!(".tara-export/{name}/{file}")).unwrap();
    let parts = store.parts().unwrap();
    let begun = parts
        .begin(&key("document"), "application/octet-stream", ObjectChecksum::Crc64Nvme)
        .await
        .unwrap();
    record["part_upload_id"] = begun.upload_id.into();
    let bytes = Bytes::from(record.to_string());
    let digest_of_record = tara_export_digest::Sha256::of(&bytes);
    let payload = Payload::new(bytes, digest_of_record, "application/json");
    store.put_if_absent(&key("upload.json"), payload).await.unwrap();
    for host in [on_disk, Host::with_s3(store).flags(&LONG_ACCEPT_TIMEOUT)] {
        let mut client = host.start().await.client;
        let upload = get(&mut client, &name).await.unwrap();
        assert_eq!((upload.committed_size_bytes, upload.sha256.as_str()), (0, ""));
        chunk(&mut client, &name, 0, content.slice(..PART), false).await.unwrap();
        let rest = stream::iter(messages(&name, &content, PART, true)).boxed();
        let sent = client.upload_document(rest).await.unwrap().into_inner().upload.unwrap();
        assert_eq!(sent.sha256, digest);
        assert_eq!(create(&mut client, 0, content.len(), &digest).await.unwrap(), sent);
        committed(&mut client, naming(1, &name)).await;
    }
}

#[tokio::test]
async fn unfinished_uploads_of_one_caller_leave_others_their_share() {
    // Each upload counts as at least 256 KiB.
    let host = Host::new().flags(&["--max-local-uploads=1MiB"]);
    let server = host.start().await;
    let mut attacker = connect_from(ATTACKER, server.address).await;
    let mut honest = connect_from(HONEST, server.address).await;
    let document = bytes(1000, 1);
    let digest = sha256(&document);
    for number in 1..=4 {
        create(&mut attacker, number, 1000, &digest).await.unwrap();
    }
    let status = create(&mut attacker, 5, 1000, &digest).await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    let name = create(&mut honest, 1, 1000, &digest).await.unwrap().name;
    expect_uploaded(&mut honest, &name, &document).await;
}
