//! Uploads with a damaged record: their content can be sent again, and no other upload is affected.

use bytes::Bytes;
use tara_export_client::proto::Upload;
use tara_export_test_support::TestS3;
use tonic::Code;

use crate::{
    following::committed,
    harness::{
        Client, Host, TestServer,
        s3::store_of,
        uploads::{PART, bytes, chunk, create, get, naming, send, sha256},
    },
    statuses::expect_status,
};

/// A host with or without S3, and its server.
struct Setup {
    s3: Option<TestS3>,
    host: Host,
    server: TestServer,
}

impl Setup {
    async fn on_both() -> [Self; 2] {
        [Self::new(None).await, Self::new(Some(TestS3::start().await)).await]
    }

    async fn new(s3: Option<TestS3>) -> Self {
        let host = s3.as_ref().map_or_else(Host::new, |s3| Host::with_s3(store_of(s3)));
        let server = host.start().await;
        Self { s3, host, server }
    }

    /// The paths or keys of an upload's files with this ending.
    fn paths(&self, upload: &str, ending: &str) -> Vec<String> {
        let all: Vec<String> = match &self.s3 {
            Some(s3) => s3.objects().into_keys().collect(),
            None => self.host.files(),
        };
        let prefix = format!("{upload}/");
        all.into_iter().filter(|name| name.contains(&prefix) && name.ends_with(ending)).collect()
    }

    fn path(&self, upload: &str, record: &str) -> String {
        let paths = match (&self.s3, record) {
            // The checkpoint with the largest offset is first.
            (Some(_), "checkpoint.json") => self.paths(&format!("{upload}/checkpoints"), ".json"),
            _ => self.paths(upload, record),
        };
        paths.into_iter().next().unwrap_or_else(|| panic!("{upload} has no {record}"))
    }

    fn read(&self, path: &str) -> Bytes {
        match &self.s3 {
            Some(s3) => s3.object(path).unwrap().bytes.clone(),
            None => std::fs::read(self.host.data_dir().join(path)).unwrap().into(),
        }
    }

    fn overwrite(&self, path: &str, bytes: &[u8]) {
        match &self.s3 {
            Some(s3) => s3.put_raw(path, bytes.to_vec()),
            None => std::fs::write(self.host.data_dir().join(path), bytes).unwrap(),
        }
    }
}

/// The size of a document whose upload gets this record.
fn size_bytes(record: &str) -> usize {
    if record == "checkpoint.json" { PART + 1 } else { 1000 }
}

/// Sends the first part, or all content, so that the upload gets this record.
async fn send_until_record(client: &mut Client, upload: &Upload, content: &Bytes, record: &str) {
    match record {
        "checkpoint.json" => {
            chunk(client, &upload.name, 0, content.slice(..PART), false).await.unwrap();
        }
        _ => {
            send(client, &upload.name, content, 0).await.unwrap();
        }
    }
}

#[tokio::test]
async fn content_with_a_damaged_record_can_be_sent_again() {
    for mut setup in Setup::on_both().await {
        let mut number = 0;
        // Another upload in the same state as the damaged ones, with intact records of its own.
        let mut others = Vec::new();
        for record in ["upload.json", "checkpoint.json", "finished.json"] {
            number += 1;
            let other = bytes(size_bytes(record) + 1, 99);
            let client = &mut setup.server.client;
            let upload = create(client, number, other.len(), "").await.unwrap();
            send_until_record(client, &upload, &other, record).await;
            others.push((record, upload.name));
        }
        for (record, other_name) in &others {
            for (is_announced, damage) in
                [(true, "cut"), (false, "cut"), (true, "foreign"), (false, "foreign")]
            {
                number += 1;
                let case = format!("{record}, {damage}, announced: {is_announced}");
                let content = bytes(size_bytes(record), u64::from(number));
                let digest = if is_announced { sha256(&content) } else { String::new() };
                let client = &mut setup.server.client;
                let upload = create(client, number, content.len(), &digest).await.unwrap();
                send_until_record(client, &upload, &content, record).await;

                let path = setup.path(&upload.name, record);
                let whole = setup.read(&path);
                let foreign = setup.read(&setup.path(other_name, record));
                match damage {
                    "cut" => setup.overwrite(&path, &whole[..whole.len() / 2]),
                    // A checkpoint in S3 is identified by the offset in its key only.
                    _ if *record == "checkpoint.json" => {
                        let shorter = String::from_utf8(foreign.to_vec()).unwrap();
                        let shorter = shorter.replace(&PART.to_string(), &(2 * PART).to_string());
                        assert_ne!(shorter.as_bytes(), &foreign[..]);
                        setup.overwrite(&path, shorter.as_bytes());
                    }
                    _ => setup.overwrite(&path, &foreign),
                }

                let client = &mut setup.server.client;
                let status = get(client, &upload.name).await.unwrap_err();
                expect_status(&status, Code::DataLoss, "DATA_LOSS");
                let again = create(client, number, content.len(), &digest).await.unwrap();
                assert_ne!(again.name, upload.name, "{case}");
                assert_eq!(again.committed_size_bytes, 0, "{case}");
                let sent = send(client, &again.name, &content, 0).await.unwrap();
                assert_eq!(sent.sha256, sha256(&content), "{case}");
                // The new upload is now the upload of this content.
                let found = create(client, number, content.len(), &digest).await.unwrap();
                assert_eq!((found.name, found.sha256), (again.name.clone(), sent.sha256), "{case}");
                committed(client, naming(number, &again.name)).await;
            }
        }
        for (record, name) in others {
            let finished = get(&mut setup.server.client, &name).await.unwrap();
            let committed = if record == "checkpoint.json" { PART } else { size_bytes(record) + 1 };
            assert_eq!(finished.committed_size_bytes, committed as i64, "{record}");
        }
    }
}

#[tokio::test]
async fn upload_with_a_damaged_abort_record_stays_aborted() {
    let s3 = TestS3::start().await;
    let setup = Setup::new(Some(s3)).await;
    let mut client = setup.server.client.clone();
    let (announced, other) = (bytes(1000, 1), bytes(1000, 2));
    let digest = sha256(&announced);
    let first = create(&mut client, 1, 1000, &digest).await.unwrap().name;
    send(&mut client, &first, &other, 0).await.unwrap_err();
    setup.overwrite(&setup.path(&first, "aborted.json"), b"{");
    let status = get(&mut client, &first).await.unwrap_err();
    expect_status(&status, Code::NotFound, "UPLOAD_NOT_FOUND");
    let second = create(&mut client, 1, 1000, &digest).await.unwrap();
    assert_ne!(second.name, first);
    assert_eq!(second.replica, "", "it is in S3");
    send(&mut client, &second.name, &announced, 0).await.unwrap();
}

#[tokio::test]
async fn request_with_a_damaged_attempt_record_gets_another_upload() {
    let setup = Setup::new(Some(TestS3::start().await)).await;
    let mut client = setup.server.client.clone();
    let other = create(&mut client, 100, 1000, "").await.unwrap().name;
    let attempt_of = |upload: &str| {
        let id = upload.strip_prefix("uploads/").unwrap().to_owned();
        let names_it = |bytes: &Bytes| String::from_utf8_lossy(bytes).contains(&id);
        let mut objects = setup.s3.as_ref().unwrap().objects().into_iter();
        let found = objects
            .find(|(key, object)| key.contains("uploads/requests/") && names_it(&object.bytes));
        found.map(|(key, object)| (key, object.bytes)).unwrap()
    };
    let (_, foreign) = attempt_of(&other);
    for (number, damage) in [(1, &b"{"[..]), (2, &foreign[..])] {
        let damaged = create(&mut client, number, 1000, "").await.unwrap().name;
        setup.overwrite(&attempt_of(&damaged).0, damage);
        let again = create(&mut client, number, 1000, "").await.unwrap();
        assert!(![&damaged, &other].contains(&&again.name), "{number}");
        assert_eq!(again.replica, "", "it is in S3");
        assert_eq!(create(&mut client, number, 1000, "").await.unwrap().name, again.name);
        send(&mut client, &again.name, &bytes(1000, 1), 0).await.unwrap();
    }
    assert_eq!(create(&mut client, 100, 1000, "").await.unwrap().name, other);
}
