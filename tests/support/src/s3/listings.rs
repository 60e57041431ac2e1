//! Lists buckets, objects, uploads and parts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{S3Result, dto::*, s3_error};

use crate::{
    bucket::StoredObject,
    checksums::set_checksum,
    listing::{self, Position},
    s3::{
        REGION,
        bad_listings::{self, ListingFaults},
        multipart,
    },
    state::Shared,
};

pub(super) fn buckets(shared: &Shared) -> S3Result<ListBucketsOutput> {
    let buckets = shared
        .buckets()
        .iter()
        .map(|(name, bucket)| Bucket {
            name: Some(name.clone()),
            creation_date: Some(bucket.created_time.into()),
            bucket_region: Some(REGION.to_owned()),
        })
        .collect();
    Ok(ListBucketsOutput { buckets: Some(buckets), owner: Some(owner()), ..Default::default() })
}

pub(super) fn objects_v2(
    shared: &Shared,
    input: ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let limit = listing::limit(input.max_keys)?;
    let faults = shared.listing_faults();
    if faults.is_any() {
        return with_faults(shared, &input, faults, encoding, limit);
    }
    // A token overrides the key after which the first page started.
    let position = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => Position::parse(token)?,
        (None, Some(key)) => Position::AfterKey(key.clone()),
        (None, None) => Position::Start,
    };
    let fetch_owner = input.fetch_owner.unwrap_or(false);
    shared.with_bucket(&input.bucket, |bucket| {
        let page = listing::page(&bucket.objects, &prefix, delimiter.as_deref(), &position, limit);
        let contents: Vec<Object> = page
            .entries
            .into_iter()
            .map(|(key, object)| entry(encoding.text(key), object, fetch_owner))
            .collect();
        let common_prefixes = encoding.prefixes(page.common_prefixes);
        Ok(ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            delimiter: delimiter.as_deref().map(|text| encoding.text(text)),
            max_keys: Some(limit as i32),
            key_count: Some((contents.len() + common_prefixes.len()) as i32),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().and_then(Position::token),
            continuation_token: input.continuation_token.clone(),
            start_after: input.start_after.as_deref().map(|text| encoding.text(text)),
            encoding_type: input.encoding_type.clone(),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..Default::default()
        })
    })
}

/// A page of a server whose listings break the rules of S3.
fn with_faults(
    shared: &Shared,
    input: &ListObjectsV2Input,
    faults: ListingFaults,
    encoding: Encoding,
    limit: usize,
) -> S3Result<ListObjectsV2Output> {
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let position = (input.start_after.as_deref(), input.continuation_token.as_deref());
    shared.with_bucket(&input.bucket, |bucket| {
        let (entries, next) =
            bad_listings::page(bucket, faults, (prefix, delimiter), position, limit)?;
        let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
        for (key, object) in entries {
            match object {
                Some(object) => contents.push(entry(encoding.text(&key), object, false)),
                None => prefixes.push(key),
            }
        }
        Ok(ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            encoding_type: input.encoding_type.clone(),
            contents: Some(contents),
            common_prefixes: Some(encoding.prefixes(prefixes)),
            ..Default::default()
        })
    })
}

pub(super) fn objects_v1(shared: &Shared, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let limit = listing::limit(input.max_keys)?;
    let marker = input.marker.clone().unwrap_or_default();
    let position = Position::of_marker(&marker, &prefix, delimiter.as_deref());
    shared.with_bucket(&input.bucket, |bucket| {
        let page = listing::page(&bucket.objects, &prefix, delimiter.as_deref(), &position, limit);
        let is_truncated = page.next.is_some();
        // S3 returns the next marker only with a delimiter; otherwise it is the last key.
        let next_marker = match page.next {
            Some(Position::AfterKey(text) | Position::AfterPrefix(text)) if delimiter.is_some() => {
                Some(encoding.text(&text))
            }
            _ => None,
        };
        let contents = page
            .entries
            .into_iter()
            .map(|(key, object)| entry(encoding.text(key), object, true))
            .collect();
        Ok(ListObjectsOutput {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            delimiter: delimiter.as_deref().map(|text| encoding.text(text)),
            max_keys: Some(limit as i32),
            marker: Some(encoding.text(&marker)),
            is_truncated: Some(is_truncated),
            next_marker,
            encoding_type: input.encoding_type.clone(),
            contents: Some(contents),
            common_prefixes: Some(encoding.prefixes(page.common_prefixes)),
            ..Default::default()
        })
    })
}

pub(super) fn uploads(
    shared: &Shared,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    if input.delimiter.is_some() {
        return Err(s3_error!(NotImplemented, "no delimiter in listings of uploads"));
    }
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let limit = listing::limit(input.max_uploads)?;
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.upload_id_marker.clone();
    // Without an upload id the marker covers every upload of its key.
    let is_listed = |key: &str, id: &str| match &id_marker {
        Some(marker) => (key, id) > (key_marker.as_str(), marker.as_str()),
        None => key > key_marker.as_str(),
    };
    shared.with_bucket(&input.bucket, |bucket| {
        let mut found = bucket
            .uploads
            .iter()
            .filter(|((key, id), _)| key.starts_with(&prefix) && is_listed(key, id));
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let last = page.last().filter(|_| found.next().is_some()).map(|((key, id), _)| (key, id));
        let uploads = page
            .iter()
            .map(|((key, id), upload)| MultipartUpload {
                key: Some(encoding.text(key)),
                upload_id: Some(id.clone()),
                initiated: Some(upload.created_time.into()),
                checksum_algorithm: upload
                    .method
                    .map(|method| ChecksumAlgorithm::from_static(method.algorithm.name())),
                checksum_type: upload.method.map(multipart::type_of),
                ..Default::default()
            })
            .collect();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            key_marker: Some(encoding.text(&key_marker)),
            upload_id_marker: id_marker.clone(),
            max_uploads: Some(limit as i32),
            is_truncated: Some(last.is_some()),
            next_key_marker: last.map(|(key, _)| encoding.text(key)),
            next_upload_id_marker: last.map(|(_, id)| id.clone()),
            encoding_type: input.encoding_type.clone(),
            uploads: Some(uploads),
            ..Default::default()
        })
    })
}

pub(super) fn parts(shared: &Shared, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let limit = listing::limit(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    shared.with_bucket(&input.bucket, |bucket| {
        let upload = multipart::upload(bucket, &input.key, &input.upload_id)?;
        let mut found = upload.parts.iter().filter(|(number, _)| **number > marker);
        let mut parts = Vec::new();
        for (number, part) in found.by_ref().take(limit) {
            let mut entry = Part {
                part_number: Some(*number),
                size: Some(part.bytes.len() as i64),
                e_tag: Some(part.e_tag()),
                last_modified: Some(part.modified_time.into()),
                ..Default::default()
            };
            set_checksum!(entry, part.checksum.as_ref());
            parts.push(entry);
        }
        let is_truncated = limit > 0 && found.next().is_some();
        Ok(ListPartsOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(input.upload_id.clone()),
            part_number_marker: Some(marker),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            max_parts: Some(limit as i32),
            is_truncated: Some(is_truncated),
            checksum_algorithm: upload
                .method
                .map(|method| ChecksumAlgorithm::from_static(method.algorithm.name())),
            checksum_type: upload.method.map(multipart::type_of),
            parts: Some(parts),
            ..Default::default()
        })
    })
}

fn entry(key: String, object: &StoredObject, with_owner: bool) -> Object {
    Object {
        key: Some(key),
        size: Some(object.bytes.len() as i64),
        e_tag: Some(object.e_tag()),
        last_modified: Some(object.modified_time.into()),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        checksum_algorithm: object
            .checksum
            .as_ref()
            .map(|checksum| vec![ChecksumAlgorithm::from_static(checksum.algorithm.name())]),
        checksum_type: object.checksum_type(),
        owner: with_owner.then(owner),
        ..Default::default()
    }
}

fn owner() -> Owner {
    Owner { id: Some("test-owner".to_owned()), ..Default::default() }
}

/// The encoding of keys in a response: XML cannot contain every character of a key.
#[derive(Clone, Copy)]
enum Encoding {
    Plain,
    Url,
}

/// The characters that S3 does not encode with `encoding-type=url`.
const URL_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/');

impl Encoding {
    /// # Errors
    /// InvalidArgument for another encoding than `url`.
    fn new(requested: Option<&EncodingType>) -> S3Result<Self> {
        match requested.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    fn text(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => utf8_percent_encode(text, URL_ENCODED).to_string(),
        }
    }

    fn prefixes(self, prefixes: Vec<String>) -> Vec<CommonPrefix> {
        prefixes
            .into_iter()
            .map(|prefix| CommonPrefix { prefix: Some(self.text(&prefix)) })
            .collect()
    }
}
