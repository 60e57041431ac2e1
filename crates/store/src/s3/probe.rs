//! Checks what an export needs from the bucket.

use aws_credential_types::provider::ProvideCredentials as _;
use tara_export_digest::{ContentChecksums, Crc64Nvme, Sha256};

use super::{
    super::{
        FailureCause, ListRequest, Listing, ObjectChecksum, Part, PartStore as _, Payload,
        ProbeResult, PutOutcome, Store as _, StoreError, StoreErrorKind, honours_conditional_put,
        probe::{CheckResults, Finding, probe_key, probe_payload},
        read_small,
    },
    S3Store,
    failure::of_credentials,
    lifecycle, probe_list,
};

const CREDENTIALS: &str = "s3.credentials";
const BUCKET: &str = "s3.bucket";
const PUT: &str = "s3.put";
const CONDITIONAL_PUT: &str = "s3.conditional_put";
const CHECKSUM: &str = "s3.checksum";
const READ: &str = "s3.read";
const LIST: &str = "s3.list";
const PARTS: &str = "s3.parts";
const LIFECYCLE: &str = "s3.lifecycle";

pub(super) async fn probe(store: &S3Store) -> Vec<ProbeResult> {
    let mut results = CheckResults::default();
    if !results.check(CREDENTIALS, credentials(store)).await {
        let all = [BUCKET, PUT, CONDITIONAL_PUT, CHECKSUM, READ, PARTS, LIST, LIFECYCLE];
        results.skip(&all, CREDENTIALS);
        return results.into_results();
    }
    let mut failure_kind = None;
    let bucket = async {
        match list_one(store, "").await {
            Ok(_) => Finding::passed(format!("{} can be listed", store.location(""))),
            Err(error) => {
                failure_kind = Some(error.kind());
                failed(&error)
            }
        }
    };
    let can_list = results.check(BUCKET, bucket).await;
    // Without the right to list, puts and reads may still work and are checked. Any other failure
    // affects all operations.
    if !can_list && failure_kind != Some(StoreErrorKind::Denied) {
        results.skip(&[PUT, CONDITIONAL_PUT, CHECKSUM, READ, PARTS, LIST, LIFECYCLE], BUCKET);
        return results.into_results();
    }
    if results.check(PUT, put(store)).await {
        results.check(CONDITIONAL_PUT, conditional_put(store)).await;
        results.check(CHECKSUM, checksum(store)).await;
        results.check(READ, read(store)).await;
        results.check(PARTS, parts(store)).await;
        if can_list {
            results.check(LIST, probe_list::check(store)).await;
        }
    } else {
        results.skip(&[CONDITIONAL_PUT, CHECKSUM, READ, PARTS], PUT);
        if can_list {
            results.skip(&[LIST], PUT);
        }
    }
    if !can_list {
        results.skip(&[LIST], BUCKET);
    }
    results.check(LIFECYCLE, lifecycle::check(store)).await;
    results.into_results()
}

async fn credentials(store: &S3Store) -> Finding {
    let Some(provider) = &store.credentials else {
        return Finding::failed(
            "no provider of AWS credentials is configured",
            "Configure AWS credentials in the environment, a profile or a role.",
        );
    };
    match store
        .bounded(async {
            provider.provide_credentials().await.map_err(|error| of_credentials(&error))
        })
        .await
    {
        // Reports no part of the credentials, not even their owner.
        Ok(_) => Finding::passed("AWS credentials are available"),
        Err(failure) => failed(&failure.into_store_error("sign requests to", &store.location(""))),
    }
}

async fn put(store: &S3Store) -> Finding {
    match store.put_if_absent(&probe_key("object"), probe_payload()).await {
        Ok(_) => Finding::passed("objects can be stored"),
        Err(error) => failed(&error),
    }
}

async fn conditional_put(store: &S3Store) -> Finding {
    match honours_conditional_put(store).await {
        Ok(true) => Finding::passed("existing objects are not replaced"),
        Ok(false) => Finding::failed(
            "the server ignores If-None-Match and replaced an existing object",
            "Exports to this server are refused, because they could overwrite each other. Use a server that \
             honours conditional puts, such as Amazon S3, MinIO or SeaweedFS.",
        ),
        Err(error) => failed(&error),
    }
}

/// Puts an object with a wrong digest, which the server must refuse.
async fn checksum(store: &S3Store) -> Finding {
    let payload = Payload { sha256: Sha256::of(b"other bytes"), ..probe_payload() };
    let hint = "Exports work, but damage in transit is not detected immediately. Prefer a server that \
                verifies x-amz-checksum-sha256.";
    match store.put(&probe_key("wrong-checksum"), payload).await {
        Ok(PutOutcome::Created) => {
            Finding::warning("the server accepted an object with a wrong SHA-256", hint)
        }
        Ok(PutOutcome::Exists) => {
            Finding::warning("the server once accepted an object with a wrong SHA-256", hint)
        }
        // Servers use different error codes: BadDigest, XAmzContentSHA256Mismatch, ….
        Err(failure) if failure.status.is_some_and(|status| (400..500).contains(&status)) => {
            Finding::passed("objects with a wrong SHA-256 are refused")
        }
        Err(failure) => {
            failed(&failure.into_store_error("test a wrong SHA-256 on", &store.location("")))
        }
    }
}

async fn read(store: &S3Store) -> Finding {
    let expected = probe_payload();
    match read_small(store, &probe_key("object"), expected.bytes.len() as u64).await {
        Ok((_, bytes)) if bytes == expected.bytes => Finding::passed("objects can be read"),
        Ok(_) => Finding::failed(
            format!(
                "{} does not contain the stored bytes",
                store.location(probe_key("object").as_str())
            ),
            "Remove this object if it was changed by hand; otherwise do not use this server.",
        ),
        Err(error) => failed(&error),
    }
}

/// Puts the probe object in parts, which needs additional rights.
async fn parts(store: &S3Store) -> Finding {
    let payload = probe_payload();
    let key = probe_key("parts");
    let part = Part {
        number: 1,
        crc64nvme: Crc64Nvme::of(&payload.bytes),
        content: payload.bytes.clone().into(),
        progress: None,
    };
    let checksums = ContentChecksums::of(&payload.bytes);
    let put = async {
        let upload = store.begin(&key, &payload.media_type, ObjectChecksum::Crc64Nvme).await?;
        let outcome = match store.put_part(&upload, part).await {
            Ok(part) => store.complete_if_absent(&upload, &[part], &checksums).await,
            Err(error) => Err(error),
        };
        if outcome.as_ref().ok() != Some(&PutOutcome::Created) {
            store.abort(&upload).await?;
        }
        outcome
    };
    match put.await {
        Ok(_) => Finding::passed("objects can be stored in parts"),
        Err(error) => {
            let Finding { message, hint, .. } = failed(&error);
            let hint = match lacks_right(&error) {
                true => {
                    "Large documents stay on this server's disk. Give the service s3:PutObject and \
                     s3:AbortMultipartUpload on the base path; with a KMS key, kms:Decrypt in addition to \
                     kms:GenerateDataKey."
                        .to_owned()
                }
                false => hint,
            };
            Finding::warning(message, hint)
        }
    }
}

async fn list_one(store: &S3Store, prefix: &str) -> Result<Listing, StoreError> {
    store
        .list(ListRequest {
            prefix: prefix.to_owned(),
            start_after: None,
            delimited: false,
            limit: 1,
        })
        .await
}

pub(super) fn failed(error: &StoreError) -> Finding {
    let message = match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    };
    Finding::failed(message, hint(error))
}

/// Whether S3 knows the service, and does not allow it the operation.
fn lacks_right(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Denied && error.cause() != FailureCause::Credentials
}

fn hint(error: &StoreError) -> &'static str {
    match error.kind() {
        StoreErrorKind::Denied if !lacks_right(error) => {
            "Correct the credentials, as the message says. No right is missing."
        }
        StoreErrorKind::Denied => {
            "Give the service a role or credentials with s3:PutObject and s3:GetObject on the base path, and \
             s3:ListBucket on the bucket; with a KMS key, also kms:GenerateDataKey and kms:Decrypt."
        }
        StoreErrorKind::Misconfigured | StoreErrorKind::NotFound | StoreErrorKind::Changed => {
            "Check the settings: S3_BUCKET_NAME, AWS_REGION, the endpoint URL and the KMS key."
        }
        StoreErrorKind::Unavailable => {
            "Check the network, the endpoint URL and this machine's clock; if S3 is overloaded, wait."
        }
        StoreErrorKind::Full => "Free space on the server, or raise the bucket's quota.",
        StoreErrorKind::Archived => {
            "Restore the archived object, and exclude the base path from lifecycle rules that archive objects."
        }
        StoreErrorKind::Corrupt => "Remove the probe objects if they were changed by hand.",
    }
}
