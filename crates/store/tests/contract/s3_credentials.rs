//! Credentials that change while an S3 store is used.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tara_export_store::{Store as _, StoreErrorKind, s3::S3Store};
use tara_export_test_support::{TestS3, raw_server::serve};
use tokio::time::{Instant, sleep};

use crate::{
    backends::settings,
    contract::key,
    s3_machine::{Machine, put},
};

/// Longer than any reload takes. A test that waits longer fails.
const LIMIT: Duration = Duration::from_secs(30);

fn keys(access_key: &str, secret_key: &str) -> String {
    format!("aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")
}

async fn store(machine: &Machine, server: &TestS3) -> S3Store {
    machine.connect(settings(&server.endpoint(), server.bucket())).await.unwrap()
}

/// Waits until objects can be stored, or no longer.
pub(crate) async fn until(store: &S3Store, is_accepted: bool) {
    let start = Instant::now();
    loop {
        let read = store.head(&key("x")).await;
        let found = matches!(read, Err(ref error) if error.kind() == StoreErrorKind::NotFound);
        let name = format!("{:?}", start.elapsed());
        if is_accepted && put(store, &name).await.is_ok() || !is_accepted && !found {
            return;
        }
        assert!(start.elapsed() < LIMIT, "no change within {LIMIT:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn changed_credentials_file_is_read_without_a_restart() {
    let server = TestS3::start().await;
    let machine = Machine::new();
    let write = |text: &str| machine.write(".aws/credentials", &format!("[default]\n{text}"));
    write(&keys("AKIDEXPIRED", "wrong"));
    let store = store(&machine, &server).await;
    assert_eq!(put(&store, "a").await.unwrap_err().kind(), StoreErrorKind::Denied);
    write(&keys(server.access_key(), server.secret_key()));
    until(&store, true).await;
    // Keys that work are replaced too: the next rotation may end them.
    write(&keys("AKIDOTHER", "wrong"));
    until(&store, false).await;
    // A file that is replaced by another one, as Kubernetes and most tools do.
    let new = machine.path(".aws/new");
    fs::write(&new, format!("[default]\n{}", keys(server.access_key(), server.secret_key())))
        .unwrap();
    fs::rename(new, machine.path(".aws/credentials")).unwrap();
    until(&store, true).await;
}

#[tokio::test]
async fn credentials_that_appear_or_are_repaired_later_are_used() {
    let server = TestS3::start().await;
    let good = format!("[default]\n{}", keys(server.access_key(), server.secret_key()));
    for first in [None, Some("[default\n"), Some("[default]\n"), Some("")] {
        for name in [".aws/credentials", ".aws/config"] {
            let machine = Machine::new();
            if let Some(text) = first {
                machine.write(name, text);
            }
            let store = store(&machine, &server).await;
            put(&store, "a").await.unwrap_err();
            machine.write(name, &good);
            until(&store, true).await;
        }
    }
}

#[tokio::test]
async fn refused_credentials_of_a_process_are_requested_again() {
    let server = TestS3::start().await;
    let machine = Machine::new();
    let output = |access: &str, secret: &str| {
        format!(r#"{{"Version": 1, "AccessKeyId": "{access}", "SecretAccessKey": "{secret}"}}"#)
    };
    machine.write("output.json", &output("AKIDEXPIRED", "wrong"));
    let command = format!("credential_process = cat {}", machine.path("output.json").display());
    let machine = machine.profile(&command);
    let store = store(&machine, &server).await;
    put(&store, "a").await.unwrap_err();
    machine.write("output.json", &output(server.access_key(), server.secret_key()));
    until(&store, true).await;
}

#[tokio::test]
async fn reload_uses_new_credentials_at_once() {
    let server = TestS3::start().await;
    let machine = Machine::new();
    let output = |access: &str, secret: &str| {
        format!(r#"{{"Version": 1, "AccessKeyId": "{access}", "SecretAccessKey": "{secret}"}}"#)
    };
    machine.write("output.json", &output(server.access_key(), server.secret_key()));
    let command = format!("credential_process = cat {}", machine.path("output.json").display());
    let machine = machine.profile(&command);
    let store = store(&machine, &server).await;
    put(&store, "a").await.unwrap();
    machine.write("output.json", &output("AKIDOTHER", "wrong"));
    put(&store, "b").await.unwrap();
    store.reload_credentials();
    assert_eq!(put(&store, "c").await.unwrap_err().kind(), StoreErrorKind::Denied);
}

#[tokio::test]
async fn changed_web_identity_token_is_exchanged_again() {
    let server = TestS3::start().await;
    let (access, secret) = (server.access_key().to_owned(), server.secret_key().to_owned());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let sts = serve(move |mut connection| {
        let (access, secret, calls) = (access.clone(), secret.clone(), counted.clone());
        async move {
            let Some(head) = connection.head().await else { return };
            let body = connection.body(head.content_length()).await.unwrap();
            calls.fetch_add(1, Ordering::SeqCst);
            let is_good = String::from_utf8_lossy(&body).contains("WebIdentityToken=good");
            let (access, secret) = if is_good { (access, secret) } else { ("AKIDOLD".into(), "old".into()) };
            let body = format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{access}</AccessKeyId>\
                 <SecretAccessKey>{secret}</SecretAccessKey><SessionToken></SessionToken>\
                 <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
                 </AssumeRoleWithWebIdentityResponse>"
            );
            let length = body.len();
            connection
                .send(&format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{body}"
                ))
                .await;
        }
    })
    .await;
    let machine = Machine::new();
    machine.write("token", "old");
    let token = machine.path("token").display().to_string();
    let machine = machine
        .with("AWS_ENDPOINT_URL_STS", &sts)
        .with("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/a")
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
    let store = store(&machine, &server).await;
    put(&store, "a").await.unwrap_err();
    assert!(calls.load(Ordering::SeqCst) >= 1);
    machine.write("token", "good");
    until(&store, true).await;
}
