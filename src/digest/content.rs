//! Everything that is known of content by reading it once.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState as _;

use super::{Crc64Nvme, Sha256};

/// Size and digests of some content, all taken in one pass: who compares one of them compares all.
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
    /// Those of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = ContentHasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Digests content that comes in pieces.
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
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        sha2::Digest::update(&mut self.sha256, bytes);
        self.crc64nvme.update(bytes);
    }

    /// The checksums of all bytes taken.
    pub fn finish(self) -> ContentChecksums {
        ContentChecksums {
            size_bytes: self.size_bytes,
            sha256: Sha256::from_bytes(sha2::Digest::finalize(self.sha256).into()),
            crc64nvme: Crc64Nvme::from_value(self.crc64nvme.finalize()),
        }
    }

    /// How many bytes were taken.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How far this has come, for another process to go on from.
    pub fn save(&self) -> SavedHasher {
        SavedHasher {
            size_bytes: self.size_bytes,
            sha256_state: hex::encode(self.sha256.serialize()),
            crc64nvme_state: hex::encode(self.crc64nvme.get_state().to_be_bytes()),
        }
    }
}

/// How far a [`ContentHasher`] has come. It shows up to 63 bytes of the content: what may see the
/// content may see this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHasher {
    /// How many bytes it has taken.
    pub size_bytes: u64,
    sha256_state: String,
    crc64nvme_state: String,
}

/// Not what [`ContentHasher::save`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no saved state of a hasher")]
pub struct InvalidSavedHasher;

impl SavedHasher {
    /// The hasher, as far as it had come.
    ///
    /// # Errors
    /// [`InvalidSavedHasher`] where a state is malformed.
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
    fn a_saved_hasher_goes_on_where_it_was() {
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
    fn anything_else_is_no_saved_hasher() {
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
