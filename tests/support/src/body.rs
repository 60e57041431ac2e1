//! Reads and verifies the body of a put or of a part.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::StatusCode;
use s3s::{
    S3Error, S3ErrorCode, S3Result, StdError, TrailingHeaders,
    dto::{self, StreamingBlob},
    s3_error,
};

use crate::checksums::{
    Algorithm, ClaimedChecksum, StoredChecksum, etag_digest, verify_content_md5,
};

/// A body with the checksums that the client claims.
pub(crate) struct ClaimedBody {
    pub(crate) stream: Option<StreamingBlob>,
    pub(crate) content_md5: Option<String>,
    /// The x-amz-checksum headers.
    pub(crate) checksums: dto::Checksum,
    /// The x-amz-sdk-checksum-algorithm header.
    pub(crate) algorithm: Option<dto::ChecksumAlgorithm>,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// A complete body whose claimed checksums were verified.
pub(crate) struct VerifiedBody {
    pub(crate) bytes: Bytes,
    /// The digest for the entity tag.
    pub(crate) digest: [u8; 32],
    /// The checksum the client sent.
    pub(crate) checksum: Option<StoredChecksum>,
}

impl ClaimedBody {
    /// Reads and verifies the complete body. With `ignore_checksums` only the payload hash of the
    /// signature is verified, and no checksum is stored.
    ///
    /// # Errors
    /// BadDigest, InvalidDigest, InvalidRequest, XAmzContentSHA256Mismatch or IncompleteBody.
    pub(crate) async fn verify(self, ignore_checksums: bool) -> S3Result<VerifiedBody> {
        let bytes = read(self.stream).await?;
        let digest = etag_digest(&bytes);
        if ignore_checksums {
            return Ok(VerifiedBody { bytes, digest, checksum: None });
        }
        verify_content_md5(self.content_md5.as_deref(), &bytes)?;
        let in_headers = ClaimedChecksum::from_fields(&self.checksums)?;
        let trailers = self.trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
        let in_trailers = ClaimedChecksum::from_trailers(&trailers)?;
        let claim = match (in_headers, in_trailers) {
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "checksums in the header and in the trailer"
                ));
            }
            (header, trailer) => header.or(trailer),
        };
        if let Some(named) = &self.algorithm {
            let named = Algorithm::parse(named.as_str())?;
            if claim.as_ref().is_none_or(|claim| claim.algorithm != named) {
                return Err(s3_error!(
                    InvalidRequest,
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding \
                     x-amz-checksum-* or x-amz-trailer headers were found."
                ));
            }
        }
        let checksum = claim.map(|claim| claim.verify(&bytes)).transpose()?;
        Ok(VerifiedBody { bytes, digest, checksum })
    }
}

async fn read(stream: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut stream) = stream else { return Ok(Bytes::new()) };
    let Some(first) = stream.next().await.transpose().map_err(unreadable)? else {
        return Ok(Bytes::new());
    };
    let Some(second) = stream.next().await.transpose().map_err(unreadable)? else {
        return Ok(first);
    };
    let mut bytes = BytesMut::from(first);
    bytes.extend_from_slice(&second);
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.map_err(unreadable)?);
    }
    Ok(bytes.freeze())
}

/// s3s verifies the payload hash while the body is read. The cause of an error is visible only in
/// its text, because the error types are private.
fn unreadable(error: StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let mut mismatch = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        mismatch.set_status_code(StatusCode::BAD_REQUEST);
        return mismatch;
    }
    if text.contains("SignatureMismatch") {
        return s3_error!(SignatureDoesNotMatch, "a chunk's signature does not match");
    }
    s3_error!(IncompleteBody, "{text}")
}
