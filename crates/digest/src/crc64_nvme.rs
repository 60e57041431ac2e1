//! CRC-64/NVME: S3's checksum of a complete object, including multipart uploads (Amazon S3 User Guide,
//! "Checking object integrity": full object checksums).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A CRC-64/NVME checksum. Its text form is that of S3's headers: Base64 of its eight bytes in big-endian
/// order.
///
/// It detects damage but not manipulation: trust it only if it was computed in the same pass over the
/// content as the SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crc64Nvme(u64);

impl Crc64Nvme {
    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes))
    }

    /// The checksum of the concatenated pieces.
    pub fn of_pieces(pieces: &[bytes::Bytes]) -> Self {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        pieces.iter().for_each(|piece| digest.update(piece));
        Self(digest.finalize())
    }

    pub(super) fn from_value(value: u64) -> Self {
        Self(value)
    }
}

/// The error for a text that is not Base64 of eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a CRC-64/NVME must be Base64 of eight bytes")]
pub struct InvalidCrc64Nvme;

impl FromStr for Crc64Nvme {
    type Err = InvalidCrc64Nvme;

    fn from_str(text: &str) -> Result<Self, InvalidCrc64Nvme> {
        let bytes = BASE64.decode(text).map_err(|_| InvalidCrc64Nvme)?;
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| InvalidCrc64Nvme)?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Crc64Nvme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64.encode(self.0.to_be_bytes()))
    }
}

impl fmt::Debug for Crc64Nvme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Crc64Nvme({self})")
    }
}

impl Serialize for Crc64Nvme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Crc64Nvme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_matches_in_the_format_of_s3() {
        let checksum = Crc64Nvme::of(b"123456789");
        // The check value of CRC-64/NVME in the catalogue of parametrised CRC algorithms.
        assert_eq!(checksum, Crc64Nvme(0xae8b_1486_0a79_9888));
        assert_eq!(checksum.to_string(), "rosUhgp5mIg=");
        assert_eq!("rosUhgp5mIg=".parse(), Ok(checksum));
        for invalid in ["", "rosUhgp5mIg", "rosUhgp5mIg=-2", "YWJj"] {
            assert_eq!(invalid.parse::<Crc64Nvme>(), Err(InvalidCrc64Nvme), "{invalid}");
        }
    }
}
