//! Listings through the SDK: paging, delimiters, order and encoding.

use aws_sdk_s3::{Client, types::EncodingType};
use tara_export_test_support::TestS3;

use crate::client::{client, refusal, refused};

const KEYS: &[&str] = &["a", "b/1", "b/2", "b0", "c/x/1", "c/y", "é/1", "\u{ff5e}", "\u{10000}"];

async fn list(
    s3: &Client,
    server: &TestS3,
    prefix: &str,
    max_keys: i32,
) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let list = s3.list_objects_v2().bucket(server.bucket()).prefix(prefix).delimiter("/");
        let page = list.max_keys(max_keys).set_continuation_token(token).send().await.unwrap();
        let count = page.contents().len() + page.common_prefixes().len();
        assert_eq!(page.key_count(), Some(count as i32));
        assert!(count > 0 && count <= max_keys as usize);
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        prefixes
            .extend(page.common_prefixes().iter().map(|item| item.prefix().unwrap().to_owned()));
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            return (keys, prefixes);
        }
    }
}

#[tokio::test]
async fn listing_is_the_same_for_every_page_size() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for key in KEYS {
        server.put_raw(*key, "x");
    }
    for max_keys in 1..=8 {
        let (keys, prefixes) = list(&s3, &server, "", max_keys).await;
        assert_eq!(keys, ["a", "b0", "\u{ff5e}", "\u{10000}"]);
        assert_eq!(prefixes, ["b/", "c/", "é/"]);
        let (keys, prefixes) = list(&s3, &server, "c/", max_keys).await;
        assert_eq!((keys, prefixes), (vec!["c/y".to_owned()], vec!["c/x/".to_owned()]));
    }
}

#[tokio::test]
async fn listing_supports_start_after_limits_and_encoding() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for key in KEYS {
        server.put_raw(*key, "x");
    }
    let list = || s3.list_objects_v2().bucket(server.bucket());
    let page = list().start_after("c/x/1").max_keys(1).send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("c/y"));
    assert_eq!(page.is_truncated(), Some(true));
    let empty = list().max_keys(0).send().await.unwrap();
    assert_eq!((empty.key_count(), empty.is_truncated()), (Some(0), Some(false)));
    let encoded = list().prefix("é").encoding_type(EncodingType::Url).send().await.unwrap();
    assert_eq!(encoded.contents()[0].key(), Some("%C3%A9/1"));
    let token = list().continuation_token("made up").send().await;
    assert_eq!(refusal(token), refused(400, "InvalidArgument"));
    assert_eq!(refusal(list().max_keys(-1).send().await), refused(400, "InvalidArgument"));
}

#[tokio::test]
async fn list_objects_v1_pages_by_marker() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    for key in KEYS {
        server.put_raw(*key, "x");
    }
    let mut seen = Vec::new();
    let mut marker = None;
    loop {
        let list = s3.list_objects().bucket(server.bucket()).delimiter("/").max_keys(1);
        let page = list.set_marker(marker).send().await.unwrap();
        seen.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        seen.extend(page.common_prefixes().iter().map(|item| item.prefix().unwrap().to_owned()));
        marker = page.next_marker().map(str::to_owned);
        if page.is_truncated() != Some(true) {
            break;
        }
    }
    assert_eq!(seen, ["a", "b/", "b0", "c/", "é/", "\u{ff5e}", "\u{10000}"]);
}
