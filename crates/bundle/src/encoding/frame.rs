//! The first line of an encoding. It has the same form in every version.

use tara_export_digest::{Sha256, Sha256Hasher};

use super::UndecodableExport;

/// The start of every encoding.
const MAGIC: &str = "tara-export/accepted";
/// Bytes before the digest: the magic text, `v` and four digits, twenty digits, and three spaces.
const PREFIX_BYTES: usize = MAGIC.len() + 1 + 5 + 1 + 20 + 1;

/// Size of the first line in bytes.
pub const FRAME_BYTES: usize = PREFIX_BYTES + 64 + 1;

/// Maximum size of a header. Six names of at most 2048 bytes, of which each may be escaped as six, take
/// 72 KiB.
const MAX_HEADER_BYTES: u64 = 256 * 1024;

/// The first line of an encoding with this header.
pub(super) fn encode(version: u32, header: &[u8]) -> Vec<u8> {
    let prefix = format!("{MAGIC} v{version:04} {:020} ", header.len());
    let digest = digest(prefix.as_bytes(), header);
    format!("{prefix}{digest}\n").into_bytes()
}

/// The digest covers the version and the size, too: a damaged digit must not look like a later release.
fn digest(prefix: &[u8], header: &[u8]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(prefix);
    hasher.update(header);
    hasher.finish()
}

/// A first line with the right form.
pub(super) struct Frame<'a> {
    prefix: &'a [u8],
    version: u32,
    header_size_bytes: u64,
    digest: Sha256,
}

impl<'a> Frame<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, UndecodableExport> {
        let Some(line) = bytes.get(..FRAME_BYTES) else {
            let length = bytes.len();
            return Err(UndecodableExport::damaged(format!(
                "{length} bytes are too few for the first line"
            )));
        };
        let frame = Self::parse_line(line).ok_or_else(|| {
            UndecodableExport::damaged(format!("the first line is not one of {MAGIC}"))
        })?;
        if frame.header_size_bytes > MAX_HEADER_BYTES {
            let size = frame.header_size_bytes;
            return Err(UndecodableExport::damaged(format!(
                "a header of {size} bytes exceeds the limit of {MAX_HEADER_BYTES}"
            )));
        }
        Ok(frame)
    }

    fn parse_line(line: &'a [u8]) -> Option<Self> {
        let (prefix, rest) = line.split_at_checked(PREFIX_BYTES)?;
        let digest = std::str::from_utf8(rest.strip_suffix(b"\n")?).ok()?.parse().ok()?;
        let numbers = std::str::from_utf8(prefix).ok()?;
        let numbers = numbers.strip_prefix(MAGIC)?.strip_prefix(" v")?.strip_suffix(' ')?;
        let (version, size) = numbers.split_once(' ')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if version.len() != 4 || !is_number(version) || !is_number(size) {
            return None;
        }
        Some(Self {
            prefix,
            version: version.parse().ok()?,
            header_size_bytes: size.parse().ok()?,
            digest,
        })
    }

    /// The end of the header and start of the body according to the line.
    pub(super) fn header_end(&self) -> u64 {
        self.header_size_bytes.saturating_add(FRAME_BYTES as u64)
    }

    /// The version and the header, if its digest is right.
    pub(super) fn header(&self, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), UndecodableExport> {
        let header = usize::try_from(self.header_end())
            .ok()
            .and_then(|end| bytes.get(FRAME_BYTES..end))
            .ok_or_else(|| UndecodableExport::damaged("the bytes end within the header"))?;
        if digest(self.prefix, header) != self.digest {
            return Err(UndecodableExport::damaged("the header does not match its digest"));
        }
        Ok((self.version, header))
    }
}
