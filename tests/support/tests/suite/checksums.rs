//! Bytes that do not match their checksum are refused and not stored.

use aws_sdk_s3::{primitives::ByteStream, types::ChecksumAlgorithm, types::ChecksumMode};
use tara_export_test_support::{Algorithm, TestS3};

use crate::client::{client, refusal, refused};

const BODY: &[u8] = b"hello world";

#[tokio::test]
async fn wrong_checksums_are_refused_and_store_nothing() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let put = || {
        let body = ByteStream::from_static(BODY);
        s3.put_object().bucket(server.bucket()).key("k").body(body)
    };
    let bad = || refused(400, "BadDigest");
    assert_eq!(
        refusal(put().content_md5("XrY7u+Ae7tCTyyK7j1rNwx==").send().await),
        refused(400, "InvalidDigest")
    );
    assert_eq!(refusal(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await), bad());
    assert_eq!(refusal(put().checksum_crc32("AAAAAA==").send().await), bad());
    assert_eq!(refusal(put().checksum_crc32_c("AAAAAA==").send().await), bad());
    assert_eq!(refusal(put().checksum_crc64_nvme("AAAAAAAAAAA=").send().await), bad());
    assert_eq!(refusal(put().checksum_sha1("AAAAAAAAAAAAAAAAAAAAAAAAAAA=").send().await), bad());
    let sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(refusal(put().checksum_sha256(sha256).send().await), bad());
    assert_eq!(refusal(put().checksum_sha256("AAAA").send().await), refused(400, "InvalidRequest"));
    let two = put().checksum_sha256(sha256).checksum_crc32("AAAAAA==");
    assert_eq!(refusal(two.send().await), refused(400, "InvalidRequest"));
    assert_eq!(server.objects().len(), 0);
}

/// The checksums of the eleven bytes, from implementations other than the one under test: zlib, the
/// CRC catalogue and coreutils.
#[tokio::test]
async fn correct_checksums_are_stored_and_returned() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let put = |key: &str| {
        s3.put_object().bucket(server.bucket()).key(key).body(ByteStream::from_static(BODY))
    };
    let crc32 = "DUoRhQ==";
    let sha1 = "Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
    let sha256 = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";
    put("md5").content_md5("XrY7u+Ae7tCTyyK7j1rNww==").send().await.unwrap();
    put("crc32").checksum_crc32(crc32).send().await.unwrap();
    put("sha1").checksum_sha1(sha1).send().await.unwrap();
    let output = put("sha256").checksum_sha256(sha256).send().await.unwrap();
    assert_eq!(output.checksum_sha256(), Some(sha256));

    let head = |key: &str| {
        s3.head_object()
            .bucket(server.bucket())
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
    };
    assert_eq!(head("crc32").await.unwrap().checksum_crc32(), Some(crc32));
    assert_eq!(head("sha1").await.unwrap().checksum_sha1(), Some(sha1));
    assert_eq!(head("sha256").await.unwrap().checksum_sha256(), Some(sha256));
    let plain = s3.head_object().bucket(server.bucket()).key("sha256").send().await.unwrap();
    assert_eq!(plain.checksum_sha256(), None);
    let stored = server.object("sha256").unwrap();
    assert_eq!(stored.checksum.as_ref().unwrap().algorithm, Algorithm::Sha256);
    assert_eq!(stored.checksum.as_ref().unwrap().to_string(), sha256);
    assert_eq!(stored.sha256(), "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
}

/// A body with a known length that the SDK cannot read in advance is sent with the checksum in its
/// trailer.
#[tokio::test]
async fn checksums_in_trailers_are_verified() {
    let server = TestS3::start().await;
    let s3 = client(&server);
    let algorithms = [
        (ChecksumAlgorithm::Crc32, Algorithm::Crc32),
        (ChecksumAlgorithm::Crc32C, Algorithm::Crc32c),
        (ChecksumAlgorithm::Crc64Nvme, Algorithm::Crc64Nvme),
        (ChecksumAlgorithm::Sha1, Algorithm::Sha1),
        (ChecksumAlgorithm::Sha256, Algorithm::Sha256),
    ];
    for (named, algorithm) in algorithms.clone() {
        let key = algorithm.name();
        let body = http_body_util::Full::new(bytes::Bytes::from_static(BODY));
        let body = aws_sdk_s3::primitives::SdkBody::from_body_1_x(body);
        s3.put_object()
            .bucket(server.bucket())
            .key(key)
            .checksum_algorithm(named)
            .body(ByteStream::new(body))
            .send()
            .await
            .unwrap();
        assert_eq!(server.object(key).unwrap().checksum.unwrap().algorithm, algorithm);
        assert_eq!(server.object(key).unwrap().bytes, BODY);
    }
    let trailers =
        server.requests().iter().filter(|put| put.header("x-amz-trailer").is_some()).count();
    assert_eq!(trailers, algorithms.len());
}

#[tokio::test]
async fn ignored_checksums_are_neither_verified_nor_stored() {
    let server = TestS3::builder().ignore_checksums().start().await.unwrap();
    let s3 = client(&server);
    let put = s3.put_object().bucket(server.bucket()).key("k").checksum_crc32("AAAAAA==");
    put.body(ByteStream::from_static(BODY)).send().await.unwrap();
    assert_eq!(server.object("k").unwrap().checksum, None);
}
