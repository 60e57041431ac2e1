//! The first line of an encoding. Its form is the same in every version.

use super::UndecodableExport;
use crate::digest::{Sha256, Sha256Hasher};

/// What every encoding starts with.
const MAGIC: &str = "tara-export/accepted";
/// Bytes before the digest: the magic, `v` and four digits, twenty digits, and three spaces.
const PREFIX_BYTES: usize = MAGIC.len() + 1 + 5 + 1 + 20 + 1;

/// Bytes of an encoding's first line.
pub const FRAME_BYTES: usize = PREFIX_BYTES + 64 + 1;

/// Bytes of the longest header there can be: six names of at most 2048 bytes, each of which may be
/// escaped as six, are 72 KiB.
const MAX_HEADER_BYTES: u64 = 256 * 1024;

/// The line that goes before this header.
pub(super) fn encode(version: u32, header: &[u8]) -> Vec<u8> {
    let prefix = format!("{MAGIC} v{version:04} {:020} ", header.len());
    let digest = digest(prefix.as_bytes(), header);
    format!("{prefix}{digest}\n").into_bytes()
}

/// The digest covers the version and the size too: a changed digit must not pass for a later
/// release's.
fn digest(prefix: &[u8], header: &[u8]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(prefix);
    hasher.update(header);
    hasher.finish()
}

/// A first line that has the right form.
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
                "its {length} bytes are less than its first line has"
            )));
        };
        let frame = Self::parse_line(line).ok_or_else(|| {
            UndecodableExport::damaged(format!("it doesn't start with a line of {MAGIC}"))
        })?;
        if frame.header_size_bytes > MAX_HEADER_BYTES {
            let size = frame.header_size_bytes;
            return Err(UndecodableExport::damaged(format!(
                "its header would have {size} bytes, and {MAX_HEADER_BYTES} is the most"
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

    /// Where the header ends and the body starts, as the line says.
    pub(super) fn header_end(&self) -> u64 {
        self.header_size_bytes.saturating_add(FRAME_BYTES as u64)
    }

    /// The header, whose digest is right, and the version that says how it reads.
    pub(super) fn header(&self, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), UndecodableExport> {
        let header = usize::try_from(self.header_end())
            .ok()
            .and_then(|end| bytes.get(FRAME_BYTES..end))
            .ok_or_else(|| UndecodableExport::damaged("it ends before its header does"))?;
        if digest(self.prefix, header) != self.digest {
            return Err(UndecodableExport::damaged("its header hasn't the digest it should have"));
        }
        Ok((self.version, header))
    }
}
