//! Determines the S3 operation of an HTTP request.
//!
//! Faults and recording need it before signature and body are verified, so it cannot come from the
//! S3 trait.

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

/// The S3 operations of this server, with their names in the S3 API.
#[allow(missing_docs, reason = "the names are S3's own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    ListBuckets,
    HeadBucket,
    GetBucketLocation,
    GetBucketVersioning,
    GetBucketLifecycleConfiguration,
    ListObjects,
    ListObjectsV2,
    ListMultipartUploads,
    DeleteObjects,
    PutObject,
    CopyObject,
    GetObject,
    HeadObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    /// Any other operation; the server returns 501 NotImplemented.
    Other,
}

/// The operation of a request, and its bucket and object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    /// Empty if the request names no bucket.
    pub(crate) bucket: String,
    /// Empty if the request names no object.
    pub(crate) key: String,
}

/// Sub-resources that this server does not support.
const OTHER_SUBRESOURCES: &[&str] = &[
    "acl",
    "attributes",
    "cors",
    "encryption",
    "legal-hold",
    "object-lock",
    "policy",
    "retention",
    "tagging",
    "torrent",
    "versions",
];

impl Target {
    /// Reads the target of a path-style request.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let operation = operation(method, uri.query().unwrap_or_default(), headers, bucket, key);
        Self { operation, bucket: bucket.to_owned(), key: key.to_owned() }
    }
}

fn operation(
    method: &Method,
    query: &str,
    headers: &HeaderMap,
    bucket: &str,
    key: &str,
) -> Operation {
    let names: Vec<&str> =
        query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name)).collect();
    let has = |name: &str| names.contains(&name);
    if names.iter().any(|name| OTHER_SUBRESOURCES.contains(name)) {
        return Operation::Other;
    }
    let copies = headers.contains_key("x-amz-copy-source");
    match (method.as_str(), !bucket.is_empty(), !key.is_empty()) {
        ("GET", false, _) => Operation::ListBuckets,
        ("HEAD", true, false) => Operation::HeadBucket,
        ("GET", true, false) if has("location") => Operation::GetBucketLocation,
        ("GET", true, false) if has("versioning") => Operation::GetBucketVersioning,
        ("GET", true, false) if has("lifecycle") => Operation::GetBucketLifecycleConfiguration,
        ("GET", true, false) if has("uploads") => Operation::ListMultipartUploads,
        ("GET", true, false) if has("list-type") => Operation::ListObjectsV2,
        ("GET", true, false) => Operation::ListObjects,
        ("POST", true, false) if has("delete") => Operation::DeleteObjects,
        ("PUT", true, true) if has("uploadId") && copies => Operation::UploadPartCopy,
        ("PUT", true, true) if has("uploadId") => Operation::UploadPart,
        ("PUT", true, true) if copies => Operation::CopyObject,
        ("PUT", true, true) => Operation::PutObject,
        ("GET", true, true) if has("uploadId") => Operation::ListParts,
        ("GET", true, true) => Operation::GetObject,
        ("HEAD", true, true) => Operation::HeadObject,
        ("POST", true, true) if has("uploads") => Operation::CreateMultipartUpload,
        ("POST", true, true) if has("uploadId") => Operation::CompleteMultipartUpload,
        ("DELETE", true, true) if has("uploadId") => Operation::AbortMultipartUpload,
        ("DELETE", true, true) => Operation::DeleteObject,
        _ => Operation::Other,
    }
}
