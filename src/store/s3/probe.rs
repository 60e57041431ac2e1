//! Tries what an export needs of the bucket.

use aws_credential_types::provider::ProvideCredentials as _;

use super::{
    super::{
        ListRequest, Listing, Part, PartStore as _, Payload, ProbeResult, PutOutcome, Store as _,
        StoreError, StoreErrorKind, WholeChecksum, honours_conditional_put,
        probe::{Finding, Rows, probe_key, probe_payload},
        read_small,
    },
    S3Store,
    failure::of_credentials,
    lifecycle,
};
use crate::digest::{ContentChecksums, Crc64Nvme, Sha256};

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
    let mut rows = Rows::default();
    if !rows.check(CREDENTIALS, credentials(store)).await {
        let all = [BUCKET, PUT, CONDITIONAL_PUT, CHECKSUM, READ, PARTS, LIST, LIFECYCLE];
        rows.skip(&all, CREDENTIALS);
        return rows.into_results();
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
    let reached = rows.check(BUCKET, bucket).await;
    // Who may not list may still put and read, which is worth knowing. Anything else is wrong for
    // all operations alike.
    if !reached && failure_kind != Some(StoreErrorKind::Denied) {
        rows.skip(&[PUT, CONDITIONAL_PUT, CHECKSUM, READ, PARTS, LIST, LIFECYCLE], BUCKET);
        return rows.into_results();
    }
    if rows.check(PUT, put(store)).await {
        rows.check(CONDITIONAL_PUT, conditional_put(store)).await;
        rows.check(CHECKSUM, checksum(store)).await;
        rows.check(READ, read(store)).await;
        rows.check(PARTS, parts(store)).await;
    } else {
        rows.skip(&[CONDITIONAL_PUT, CHECKSUM, READ, PARTS], PUT);
    }
    if reached {
        rows.check(LIST, list(store)).await;
    } else {
        rows.skip(&[LIST], BUCKET);
    }
    rows.check(LIFECYCLE, lifecycle::check(store)).await;
    rows.into_results()
}

async fn credentials(store: &S3Store) -> Finding {
    let Some(provider) = &store.credentials else {
        return Finding::failed(
            "there is no source of AWS credentials",
            hint(StoreErrorKind::Denied),
        );
    };
    match store
        .bounded(async {
            provider.provide_credentials().await.map_err(|error| of_credentials(&error))
        })
        .await
    {
        // Whose they are is for the AWS console to say: no part of them belongs into a report.
        Ok(_) => Finding::passed("there are AWS credentials"),
        Err(failure) => failed(&failure.into_store_error("sign requests to", &store.location(""))),
    }
}

async fn put(store: &S3Store) -> Finding {
    match store.put_if_absent(&probe_key("object"), probe_payload()).await {
        Ok(_) => Finding::passed("an object can be put"),
        Err(error) => failed(&error),
    }
}

async fn conditional_put(store: &S3Store) -> Finding {
    match honours_conditional_put(store).await {
        Ok(true) => Finding::passed("an object that is there is never replaced"),
        Ok(false) => Finding::failed(
            "the server ignores If-None-Match and replaced an object that was there",
            "Exports to this server are refused, since they could destroy each other. Use a server that \
             honours conditional puts, such as Amazon S3, MinIO or SeaweedFS.",
        ),
        Err(error) => failed(&error),
    }
}

/// Puts bytes under another's digest, which the server must refuse.
async fn checksum(store: &S3Store) -> Finding {
    let payload = Payload { sha256: Sha256::of(b"other bytes"), ..probe_payload() };
    let hint = "Exports work, but what is damaged on the way isn't noticed at once. Prefer a server that \
                checks x-amz-checksum-sha256.";
    match store.put(&probe_key("wrong-checksum"), payload).await {
        Ok(PutOutcome::Created) => {
            Finding::warning("the server took an object whose SHA-256 was wrong", hint)
        }
        Ok(PutOutcome::Exists) => {
            Finding::warning("the server once took an object whose SHA-256 was wrong", hint)
        }
        // Servers differ in how they say it: BadDigest, XAmzContentSHA256Mismatch, ….
        Err(failure) if failure.status.is_some_and(|status| (400..500).contains(&status)) => {
            Finding::passed("an object whose SHA-256 is wrong is refused")
        }
        Err(failure) => {
            failed(&failure.into_store_error("try a wrong SHA-256 on", &store.location("")))
        }
    }
}

async fn read(store: &S3Store) -> Finding {
    let expected = probe_payload();
    match read_small(store, &probe_key("object"), expected.bytes.len() as u64).await {
        Ok((_, bytes)) if bytes == expected.bytes => Finding::passed("an object can be read"),
        Ok(_) => Finding::failed(
            format!(
                "{} holds other bytes than were put",
                store.location(probe_key("object").as_str())
            ),
            "Remove this object if somebody changed it; otherwise don't trust this server.",
        ),
        Err(error) => failed(&error),
    }
}

/// Puts the probe object in parts, which takes other rights than in one request.
async fn parts(store: &S3Store) -> Finding {
    let payload = probe_payload();
    let key = probe_key("parts");
    let part = Part {
        number: 1,
        crc64nvme: Crc64Nvme::of(&payload.bytes),
        content: payload.bytes.clone().into(),
        progress: None,
    };
    let whole = ContentChecksums::of(&payload.bytes);
    let put = async {
        let upload = store.begin(&key, &payload.media_type, WholeChecksum::Crc64Nvme).await?;
        let outcome = match store.put_part(&upload, part).await {
            Ok(part) => store.complete_if_absent(&upload, &[part], &whole).await,
            Err(error) => Err(error),
        };
        if outcome.as_ref().ok() != Some(&PutOutcome::Created) {
            store.abort(&upload).await?;
        }
        outcome
    };
    match put.await {
        Ok(_) => Finding::passed("an object can be put in parts"),
        Err(error) => {
            let hint = "Large documents stay on this server's disk. Give the service s3:PutObject and \
                        s3:AbortMultipartUpload on the base path; with a KMS key, kms:Decrypt beside \
                        kms:GenerateDataKey.";
            Finding::warning(failed(&error).message, hint)
        }
    }
}

async fn list(store: &S3Store) -> Finding {
    match list_one(store, ".tara-export/probe/").await {
        Ok(listing) if listing.keys.is_empty() => Finding::failed(
            "an object that was just put isn't in the listing",
            "Exports to this server could not be found again. Use one whose listings are consistent.",
        ),
        Ok(_) => Finding::passed("objects can be listed"),
        Err(error) => failed(&error),
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

fn failed(error: &StoreError) -> Finding {
    let message = match std::error::Error::source(error) {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    };
    Finding::failed(message, hint(error.kind()))
}

fn hint(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Denied => {
            "Give the service a role or credentials that may s3:PutObject and s3:GetObject on the base path, \
             and s3:ListBucket on the bucket; with a KMS key, kms:GenerateDataKey and kms:Decrypt too."
        }
        StoreErrorKind::Misconfigured | StoreErrorKind::NotFound | StoreErrorKind::Changed => {
            "Check the settings: S3_BUCKET_NAME, AWS_REGION, the endpoint's URL, and the KMS key."
        }
        StoreErrorKind::Unavailable => {
            "Check the network, the endpoint's URL and this machine's clock; or wait, if S3 is overloaded."
        }
        StoreErrorKind::Full => "Make room on the server, or raise the bucket's quota.",
        StoreErrorKind::Corrupt => "Remove the probe objects if somebody changed them.",
    }
}
