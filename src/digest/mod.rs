//! Digests as types of their own: SHA-256, which vouches for content, and CRC-64/NVME, which S3 keeps of
//! whole objects however they were put.

mod content;
mod crc64_nvme;
mod sha256;

pub use self::{
    content::{ContentChecksums, ContentHasher, InvalidSavedHasher, SavedHasher},
    crc64_nvme::{Crc64Nvme, InvalidCrc64Nvme},
    sha256::{InvalidSha256, Sha256, Sha256Hasher},
};
