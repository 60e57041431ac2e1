//! Digest types: SHA-256, which identifies content, and CRC-64/NVME, which S3 keeps for complete objects, including
//! multipart uploads.
//!
//! A separate crate because bundles, stores and the client share it. Never depends on the disk, a runtime, or
//! another crate of this workspace.

mod content;
mod crc64_nvme;
mod sha256;

pub use self::{
    content::{ContentChecksums, ContentHasher, InvalidSavedHasher, SavedHasher},
    crc64_nvme::{Crc64Nvme, InvalidCrc64Nvme},
    sha256::{InvalidSha256, Sha256, Sha256Hasher},
};
