//! Size and digests of content, computed in one pass.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState as _;

use super::{Crc64Nvme, Sha256};

/// Size and digests of content. They are computed in one pass and compared together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentChecksums {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its CRC-64/NVME.
    pub crc64nvme: Crc64Nvme,
}

impl ContentChecksums {
    /// The checksums of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = ContentHasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Hashes content that arrives in pieces.
#[derive(Clone)]
pub struct ContentHasher {
    size_bytes: u64,
    sha256: sha2::Sha256,
    crc64nvme: Crc,
}

impl Default for ContentHasher {
    fn default() -> Self {
        let crc64nvme = Crc::new(CrcAlgorithm::Crc64Nvme);
        Self { size_bytes: 0, sha256: sha2::Sha256::default(), crc64nvme }
    }
}

impl ContentHasher {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        sha2::Digest::update(&mut self.sha256, bytes);
        self.crc64nvme.update(bytes);
    }

    /// Returns the checksums of all hashed bytes.
    pub fn finish(self) -> ContentChecksums {
        ContentChecksums {
            size_bytes: self.size_bytes,
            sha256: Sha256::from_bytes(sha2::Digest::finalize(self.sha256).into()),
            crc64nvme: Crc64Nvme::from_value(self.crc64nvme.finalize()),
        }
    }

    /// The number of hashed bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Saves the state, so that another process can continue.
    pub fn save(&self) -> SavedHasher {
        SavedHasher {
            size_bytes: self.size_bytes,
            sha256_state: hex::encode(self.sha256.serialize()),
            crc64nvme_state: hex::encode(self.crc64nvme.get_state().to_be_bytes()),
        }
    }
}

/// The saved state of a [`ContentHasher`]. It contains up to 63 bytes of the content, so protect it like
/// the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHasher {
    /// The number of hashed bytes.
    pub size_bytes: u64,
    sha256_state: String,
    crc64nvme_state: String,
}

/// The error for a state that [`ContentHasher::save`] did not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a saved state of a hasher")]
pub struct InvalidSavedHasher;

impl SavedHasher {
    /// Restores the hasher.
    ///
    /// # Errors
    /// [`InvalidSavedHasher`] if a state is malformed.
    pub fn restore(&self) -> Result<ContentHasher, InvalidSavedHasher> {
        let state = hex::decode(&self.sha256_state).map_err(|_| InvalidSavedHasher)?;
        let state = state.as_slice().try_into().map_err(|_| InvalidSavedHasher)?;
        let sha256 = sha2::Sha256::deserialize(state).map_err(|_| InvalidSavedHasher)?;
        let mut crc_state = [0; 8];
        hex::decode_to_slice(&self.crc64nvme_state, &mut crc_state)
            .map_err(|_| InvalidSavedHasher)?;
        let state = u64::from_be_bytes(crc_state);
        let crc64nvme = Crc::new_with_init_state(CrcAlgorithm::Crc64Nvme, state);
        Ok(ContentHasher { size_bytes: self.size_bytes, sha256, crc64nvme })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn restored_hasher_continues() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number * 7) as u8).collect();
        for split in [0, 1, 63, 64, 65, 1_000, bytes.len()] {
            let mut hasher = ContentHasher::default();
            hasher.update(&bytes[..split]);
            let saved = serde_json::to_string(&hasher.save()).unwrap();
            let mut restored =
                serde_json::from_str::<SavedHasher>(&saved).unwrap().restore().unwrap();
            assert_eq!(restored.size_bytes(), split as u64);
            restored.update(&bytes[split..]);
            let checksums = restored.finish();
            assert_eq!(checksums, ContentChecksums::of(&bytes));
            assert_eq!(checksums.sha256, Sha256::of(&bytes));
            assert_eq!(checksums.crc64nvme, Crc64Nvme::of(&bytes));
        }
    }

    #[test]
    fn malformed_saved_hashers_are_refused() {
        let saved = ContentHasher::default().save();
        for change in [
            (|saved| saved.sha256_state.push('0')) as fn(&mut SavedHasher),
            |saved| saved.sha256_state.clear(),
            |saved| saved.crc64nvme_state = "00".to_owned(),
            |saved| saved.crc64nvme_state = "zz".repeat(8),
        ] {
            let mut changed = saved.clone();
            change(&mut changed);
            assert_eq!(changed.restore().err(), Some(InvalidSavedHasher));
        }
    }
}
