//! Multipart uploads from the first part to the conditional completion.

use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use futures::future::join_all;
use tara_export_test_support::TestS3;

use crate::client::{bytes, client, refusal, refused};

const PART_SIZE_BYTES: usize = 1024;

async fn server() -> TestS3 {
    TestS3::builder().minimum_part_size_bytes(PART_SIZE_BYTES).start().await.unwrap()
}

struct Upload<'a> {
    s3: &'a Client,
    bucket: &'a str,
    key: &'a str,
    id: String,
    algorithm: ChecksumAlgorithm,
}

impl<'a> Upload<'a> {
    async fn start(
        s3: &'a Client,
        server: &'a TestS3,
        key: &'a str,
        algorithm: ChecksumAlgorithm,
    ) -> Self {
        let kind = match algorithm {
            ChecksumAlgorithm::Sha256 => ChecksumType::Composite,
            _ => ChecksumType::FullObject,
        };
        let create = s3.create_multipart_upload().bucket(server.bucket()).key(key);
        let created = create
            .content_type("text/plain")
            .checksum_algorithm(algorithm.clone())
            .checksum_type(kind)
            .send()
            .await
            .unwrap();
        let id = created.upload_id().unwrap().to_owned();
        Self { s3, bucket: server.bucket(), key, id, algorithm }
    }

    async fn part(&self, number: i32, body: Vec<u8>) -> CompletedPart {
        let part = self.s3.upload_part().bucket(self.bucket).key(self.key).upload_id(&self.id);
        let output = part
            .part_number(number)
            .checksum_algorithm(self.algorithm.clone())
            .body(ByteStream::from(body))
            .send()
            .await
            .unwrap();
        CompletedPart::builder()
            .part_number(number)
            .set_e_tag(output.e_tag().map(str::to_owned))
            .set_checksum_sha256(output.checksum_sha256().map(str::to_owned))
            .build()
    }

    fn complete(
        &self,
        parts: &[CompletedPart],
    ) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder
    {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
        let complete = self.s3.complete_multipart_upload().bucket(self.bucket).key(self.key);
        complete.upload_id(&self.id).multipart_upload(parts)
    }
}

#[tokio::test]
async fn parts_sent_out_of_order_become_one_object() {
    let server = server().await;
    let s3 = client(&server);
    let body = bytes(2 * PART_SIZE_BYTES + 7, 3);
    for algorithm in [ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc64Nvme] {
        let upload = Upload::start(&s3, &server, algorithm.as_str(), algorithm.clone()).await;
        let mut parts = Vec::new();
        for number in [3, 1, 2] {
            let first = (number as usize - 1) * PART_SIZE_BYTES;
            let last = (first + PART_SIZE_BYTES).min(body.len());
            parts.push(upload.part(number, body[first..last].to_vec()).await);
        }
        parts.sort_by_key(CompletedPart::part_number);
        assert_eq!(server.open_uploads(), 1);
        let done = upload.complete(&parts).if_none_match("*").send().await.unwrap();
        assert!(done.e_tag().unwrap().ends_with("-3\""));
        assert_eq!(server.open_uploads(), 0);
        let object = server.object(algorithm.as_str()).unwrap();
        assert_eq!(object.bytes, body);
        assert_eq!(object.content_type(), Some("text/plain"));
        match algorithm {
            ChecksumAlgorithm::Sha256 => {
                assert!(done.checksum_sha256().unwrap().ends_with("-3"));
                assert_eq!(done.checksum_type(), Some(&ChecksumType::Composite));
            }
            _ => {
                // The checksum of the same bytes in one put.
                let put = s3.put_object().bucket(server.bucket()).key("whole");
                let put =
                    put.checksum_algorithm(algorithm.clone()).body(ByteStream::from(body.clone()));
                let whole = put.send().await.unwrap();
                assert_eq!(done.checksum_crc64_nvme(), whole.checksum_crc64_nvme());
                assert_eq!(done.checksum_type(), Some(&ChecksumType::FullObject));
            }
        }
        let again = upload.complete(&parts).send().await;
        assert_eq!(refusal(again), refused(404, "NoSuchUpload"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_concurrent_conditional_completions_wins() {
    let server = server().await;
    let s3 = client(&server);
    for round in 0..10 {
        let key = format!("round/{round}");
        let completions = join_all((0..8).map(|writer| {
            let (s3, server, key) = (&s3, &server, &key);
            async move {
                let upload = Upload::start(s3, server, key, ChecksumAlgorithm::Sha256).await;
                let part = upload.part(1, vec![writer; 10]).await;
                upload.complete(&[part]).if_none_match("*").send().await
            }
        }));
        let results = completions.await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "round {round}");
        for result in results.into_iter().filter(Result::is_err) {
            assert_eq!(refusal(result), refused(412, "PreconditionFailed"));
        }
    }
    // A refused completion leaves its upload open.
    assert_eq!(server.open_uploads(), 70);
}

#[tokio::test]
async fn completions_with_wrong_parts_are_refused() {
    let server = server().await;
    let s3 = client(&server);
    let upload = Upload::start(&s3, &server, "k", ChecksumAlgorithm::Sha256).await;
    let small = upload.part(1, bytes(PART_SIZE_BYTES - 1, 1)).await;
    let second = upload.part(2, bytes(PART_SIZE_BYTES, 2)).await;
    let refuse = |parts: Vec<CompletedPart>| {
        let complete = upload.complete(&parts);
        async move { refusal(complete.send().await) }
    };
    assert_eq!(refuse(vec![small.clone(), second.clone()]).await, refused(400, "EntityTooSmall"));
    assert_eq!(refuse(vec![second.clone(), small.clone()]).await, refused(400, "InvalidPartOrder"));
    assert_eq!(refuse(vec![]).await, refused(400, "MalformedXML"));
    let swapped = CompletedPart::builder().part_number(2).set_e_tag(small.e_tag.clone());
    assert_eq!(refuse(vec![swapped.build()]).await, refused(400, "InvalidPart"));
    let bare = CompletedPart::builder().part_number(2).set_e_tag(second.e_tag.clone());
    assert_eq!(refuse(vec![bare.clone().build()]).await, refused(400, "InvalidRequest"));
    let wrong = bare.set_checksum_sha256(small.checksum_sha256.clone());
    assert_eq!(refuse(vec![wrong.build()]).await, refused(400, "InvalidPart"));
    let size = upload.complete(std::slice::from_ref(&second)).mpu_object_size(1).send().await;
    assert_eq!(refusal(size), refused(400, "InvalidRequest"));
    let digest = small.checksum_sha256().unwrap();
    let digest =
        upload.complete(std::slice::from_ref(&second)).checksum_sha256(digest).send().await;
    assert_eq!(refusal(digest), refused(400, "BadDigest"));
    assert_eq!(server.objects().len(), 0);
    upload.complete(&[second]).mpu_object_size(PART_SIZE_BYTES as i64).send().await.unwrap();
    assert_eq!(server.objects().len(), 1);
}

#[tokio::test]
async fn parts_are_checked_listed_copied_and_aborted() {
    let server = server().await;
    let s3 = client(&server);
    server.put_raw("source", bytes(4 * PART_SIZE_BYTES, 9));
    let upload = Upload::start(&s3, &server, "k", ChecksumAlgorithm::Sha256).await;

    let part = || s3.upload_part().bucket(server.bucket()).key("k").upload_id(&upload.id);
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let wrong = part().part_number(1).checksum_sha256(zeros).body(ByteStream::from_static(b"x"));
    assert_eq!(refusal(wrong.send().await), refused(400, "BadDigest"));
    let other = part().part_number(1).checksum_algorithm(ChecksumAlgorithm::Crc32);
    let other = other.body(ByteStream::from_static(b"x"));
    assert_eq!(refusal(other.send().await), refused(400, "InvalidRequest"));

    let etag = format!("\"{}\"", server.object("source").unwrap().etag);
    let copy = |etag: &str| {
        let copy = s3.upload_part_copy().bucket(server.bucket()).key("k").upload_id(&upload.id);
        let source = format!("{}/source", server.bucket());
        copy.part_number(1).copy_source(source).copy_source_if_match(etag)
    };
    assert_eq!(refusal(copy("\"0\"").send().await), refused(412, "PreconditionFailed"));
    let range = copy(&etag).copy_source_range("bytes=0-9999999").send().await;
    assert_eq!(refusal(range), refused(400, "InvalidArgument"));
    let copied = copy(&etag).copy_source_range("bytes=1024-3071").send().await.unwrap();
    let copied = copied.copy_part_result().unwrap();
    assert!(copied.checksum_sha256().is_some());
    upload.part(2, bytes(10, 1)).await;

    let list = || s3.list_parts().bucket(server.bucket()).key("k").upload_id(&upload.id);
    let page = list().max_parts(1).send().await.unwrap();
    assert_eq!((page.parts().len(), page.is_truncated()), (1, Some(true)));
    assert_eq!(page.parts()[0].size(), Some(2048));
    let page = list().part_number_marker("1").send().await.unwrap();
    assert_eq!((page.parts()[0].part_number(), page.is_truncated()), (Some(2), Some(false)));

    let second = Upload::start(&s3, &server, "k2", ChecksumAlgorithm::Sha256).await;
    let list = || s3.list_multipart_uploads().bucket(server.bucket());
    let page = list().max_uploads(1).send().await.unwrap();
    assert_eq!((page.uploads()[0].key(), page.is_truncated()), (Some("k"), Some(true)));
    let next = list().set_key_marker(page.next_key_marker().map(str::to_owned));
    let next = next.set_upload_id_marker(page.next_upload_id_marker().map(str::to_owned));
    let next = next.send().await.unwrap();
    assert_eq!(
        (next.uploads().len(), next.uploads()[0].upload_id()),
        (1, Some(second.id.as_str()))
    );

    let abort =
        || s3.abort_multipart_upload().bucket(server.bucket()).key("k").upload_id(&upload.id);
    abort().send().await.unwrap();
    assert_eq!(refusal(abort().send().await), refused(404, "NoSuchUpload"));
    assert_eq!(server.open_uploads(), 1);
}
