//! S3's checksums: computation, comparison, and the rules for combining them.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use s3s::{
    S3Error, S3Result,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    dto, s3_error,
};

/// A checksum algorithm of S3.
#[allow(missing_docs, reason = "the names are S3's own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// S3's name of the algorithm, for example `CRC64NVME`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Parses S3's name of an algorithm.
    ///
    /// # Errors
    /// InvalidRequest for an unknown name.
    pub(crate) fn parse(name: &str) -> S3Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| s3_error!(InvalidRequest, "unknown checksum algorithm {name}"))
    }

    pub(crate) fn compute(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => Crc32::checksum(bytes).to_vec(),
            Self::Crc32c => Crc32c::checksum(bytes).to_vec(),
            Self::Crc64Nvme => Crc64Nvme::checksum(bytes).to_vec(),
            Self::Sha1 => Sha1::checksum(bytes).to_vec(),
            Self::Sha256 => Sha256::checksum(bytes).to_vec(),
        }
    }

    fn size_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_ascii_lowercase())
    }
}

/// A checksum that S3 stores with an object or a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChecksum {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// The checksum's bytes.
    pub value: Vec<u8>,
    /// The number of parts, if this is a checksum of the parts' checksums.
    pub composite_parts: Option<usize>,
}

impl StoredChecksum {
    pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self { algorithm, value: algorithm.compute(bytes), composite_parts: None }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.composite_parts {
            Some(_) => dto::ChecksumType::COMPOSITE,
            None => dto::ChecksumType::FULL_OBJECT,
        }
    }

    /// The checksum in the fields of S3's responses.
    pub(crate) fn to_dto(&self) -> dto::Checksum {
        let mut fields = dto::Checksum::default();
        let field = match self.algorithm {
            Algorithm::Crc32 => &mut fields.checksum_crc32,
            Algorithm::Crc32c => &mut fields.checksum_crc32c,
            Algorithm::Crc64Nvme => &mut fields.checksum_crc64nvme,
            Algorithm::Sha1 => &mut fields.checksum_sha1,
            Algorithm::Sha256 => &mut fields.checksum_sha256,
        };
        *field = Some(self.to_string());
        fields.checksum_type = Some(dto::ChecksumType::from_static(self.type_name()));
        fields
    }
}

/// The form in S3's headers: Base64, with the number of parts if composite.
impl fmt::Display for StoredChecksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&STANDARD.encode(&self.value))?;
        self.composite_parts.map_or(Ok(()), |parts| write!(formatter, "-{parts}"))
    }
}

/// Sets the five checksum fields of a response.
macro_rules! set_checksum {
    ($output:expr, $checksum:expr) => {
        let checksum: s3s::dto::Checksum =
            $checksum.map(crate::checksums::StoredChecksum::to_dto).unwrap_or_default();
        $output.checksum_crc32 = checksum.checksum_crc32;
        $output.checksum_crc32c = checksum.checksum_crc32c;
        $output.checksum_crc64nvme = checksum.checksum_crc64nvme;
        $output.checksum_sha1 = checksum.checksum_sha1;
        $output.checksum_sha256 = checksum.checksum_sha256;
    };
}

/// Reads the five checksum fields of a request.
macro_rules! checksum_fields {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.clone(),
            checksum_crc32c: $input.checksum_crc32c.clone(),
            checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
            checksum_sha1: $input.checksum_sha1.clone(),
            checksum_sha256: $input.checksum_sha256.clone(),
            checksum_type: None,
        }
    };
}

pub(crate) use {checksum_fields, set_checksum};

/// A checksum that a client claims for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimedChecksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) value: Vec<u8>,
}

impl ClaimedChecksum {
    /// Reads one checksum from the fields of a request; `None` if it has none.
    ///
    /// # Errors
    /// InvalidRequest for more than one checksum, or one that is not Base64 of the right length.
    pub(crate) fn from_fields(fields: &dto::Checksum) -> S3Result<Option<Self>> {
        let claims = [
            (Algorithm::Crc32, &fields.checksum_crc32),
            (Algorithm::Crc32c, &fields.checksum_crc32c),
            (Algorithm::Crc64Nvme, &fields.checksum_crc64nvme),
            (Algorithm::Sha1, &fields.checksum_sha1),
            (Algorithm::Sha256, &fields.checksum_sha256),
        ];
        let claims =
            claims.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text.as_deref()?)));
        Self::at_most_one(claims)
    }

    /// Reads one checksum from the trailers of a request, by the same rules.
    pub(crate) fn from_trailers(trailers: &HeaderMap) -> S3Result<Option<Self>> {
        let claims = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            Some((algorithm, trailers.get(algorithm.header())?.to_str().unwrap_or_default()))
        });
        Self::at_most_one(claims)
    }

    fn at_most_one<'a>(
        mut claims: impl Iterator<Item = (Algorithm, &'a str)>,
    ) -> S3Result<Option<Self>> {
        let Some((algorithm, text)) = claims.next() else { return Ok(None) };
        if claims.next().is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            ));
        }
        // A composite checksum may be sent with its number of parts.
        let text = text.split_once('-').map_or(text, |(value, _)| value);
        match STANDARD.decode(text) {
            Ok(value) if value.len() == algorithm.size_bytes() => {
                Ok(Some(Self { algorithm, value }))
            }
            _ => Err(s3_error!(
                InvalidRequest,
                "Value for {} header is invalid.",
                algorithm.header()
            )),
        }
    }

    /// Verifies the bytes and returns the checksum to store.
    ///
    /// # Errors
    /// BadDigest if the bytes have another checksum.
    pub(crate) fn verify(self, bytes: &[u8]) -> S3Result<StoredChecksum> {
        let computed = StoredChecksum::of(self.algorithm, bytes);
        if computed.value == self.value {
            Ok(computed)
        } else {
            Err(bad_digest(self.algorithm.name()))
        }
    }
}

/// Verifies a Content-MD5 header.
///
/// # Errors
/// InvalidDigest if it is not Base64 of 16 bytes, BadDigest if the body has another MD5.
pub(crate) fn verify_content_md5(claim: Option<&str>, bytes: &[u8]) -> S3Result<()> {
    let Some(claim) = claim else { return Ok(()) };
    match STANDARD.decode(claim) {
        Ok(value) if value.len() != 16 => Err(invalid_md5()),
        Ok(value) if value == Md5::checksum(bytes) => Ok(()),
        Ok(_) => Err(bad_digest("Content-MD5")),
        Err(_) => Err(invalid_md5()),
    }
}

fn invalid_md5() -> S3Error {
    s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid.")
}

/// The digest for entity tags. S3's own are MD5 only for some objects, and clients must not rely on
/// it. SHA-256 is faster in unoptimized builds, and its length prevents clients from treating it as
/// an MD5.
pub(crate) fn etag_digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::checksum(bytes)
}

pub(crate) fn bad_digest(what: &str) -> S3Error {
    s3_error!(BadDigest, "The {what} you specified did not match the calculated checksum.")
}
