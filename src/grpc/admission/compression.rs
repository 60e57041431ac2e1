//! Compressed messages (gRPC, "Compression"): one buffer of a known size, whatever they decompress to.

use std::io::{self, Read};

use http::HeaderMap;

/// The header that names a request's encoding.
pub(super) const ENCODING_HEADER: &str = "grpc-encoding";
/// The header that lists the encodings that this server reads.
pub(super) const ACCEPT_HEADER: &str = "grpc-accept-encoding";
/// What that header says.
pub(super) const ACCEPTED: &str = "identity,gzip,deflate,zstd";
/// Largest window of a zstd frame: what decoders must support at least (RFC 8878, section 3.1.1.1.2).
const WINDOW_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// How a request's messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// In the zlib format, as HTTP and gRPC mean it.
    Deflate,
    Zstd,
}

/// The request names an encoding that this server does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownEncoding;

/// Why a message can't be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecompressError {
    /// It has more bytes than the buffer.
    TooLarge,
    /// Its window is larger than this server takes.
    WindowTooLarge,
    /// It is not what its encoding says.
    Malformed,
}

impl Encoding {
    /// The encoding that a request's headers name. `None` if its messages are not compressed.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, UnknownEncoding> {
        let Some(name) = headers.get(ENCODING_HEADER) else { return Ok(None) };
        match name.as_bytes() {
            b"identity" => Ok(None),
            b"gzip" => Ok(Some(Self::Gzip)),
            b"deflate" => Ok(Some(Self::Deflate)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(UnknownEncoding),
        }
    }

    /// The message that was compressed, of at most `limit` bytes. How large it is shows only when it fits.
    pub(super) fn decompress_within(
        self,
        compressed: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, DecompressError> {
        let mut capacity = first_capacity(compressed.len(), limit);
        loop {
            match self.decompress(compressed, capacity) {
                Err(DecompressError::TooLarge) if capacity < limit => {
                    capacity = next_capacity(capacity, limit);
                }
                result => return result,
            }
        }
    }

    /// The message that was compressed, in a buffer of `capacity` bytes. Beside it, this takes less than
    /// 256 KiB: zstd writes into the one buffer, so that its window needs no memory of its own.
    pub(super) fn decompress(
        self,
        compressed: &[u8],
        capacity: usize,
    ) -> Result<Vec<u8>, DecompressError> {
        match self {
            Self::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(compressed), capacity),
            Self::Deflate => {
                let mut decoder = flate2::bufread::ZlibDecoder::new(compressed);
                let message = read_all(&mut decoder, capacity)?;
                // One stream is one message.
                if decoder.into_inner().is_empty() {
                    Ok(message)
                } else {
                    Err(DecompressError::Malformed)
                }
            }
            Self::Zstd => decompress_zstd(compressed, capacity),
        }
    }
}

/// The size of the buffer that a message of this size is decompressed into first.
pub(super) fn first_capacity(compressed_bytes: usize, limit: usize) -> usize {
    const LEAST_BYTES: usize = 16 * 1024;
    compressed_bytes.saturating_mul(4).max(LEAST_BYTES).min(limit)
}

/// The size of the next buffer, where this one was too small.
pub(super) fn next_capacity(capacity: usize, limit: usize) -> usize {
    capacity.saturating_mul(4).min(limit)
}

/// Reads to the end into a buffer of this many bytes.
fn read_all(mut decoder: impl Read, capacity: usize) -> Result<Vec<u8>, DecompressError> {
    let mut message = vec![0; capacity];
    let mut filled = 0;
    while filled < capacity {
        match decoder.read(&mut message[filled..]) {
            Ok(0) => {
                message.truncate(filled);
                return Ok(message);
            }
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(DecompressError::Malformed),
        }
    }
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(message),
        Ok(_) => Err(DecompressError::TooLarge),
        Err(_) => Err(DecompressError::Malformed),
    }
}

fn decompress_zstd(compressed: &[u8], capacity: usize) -> Result<Vec<u8>, DecompressError> {
    use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;

    if zstd_window_bytes(compressed).is_some_and(|window| window > WINDOW_LIMIT_BYTES) {
        return Err(DecompressError::WindowTooLarge);
    }
    let mut decoder = zstd::bulk::Decompressor::new().map_err(|_| DecompressError::Malformed)?;
    let mut message = Vec::with_capacity(capacity);
    match decoder.decompress_to_buffer(compressed, &mut message) {
        Ok(_) => Ok(message),
        Err(error) => {
            let zstd = error.get_ref().and_then(|error| error.downcast_ref::<zstd::Error>());
            let is_too_small = zstd.is_some_and(|error| error.is(ZSTD_error_dstSize_tooSmall));
            Err(if is_too_small { DecompressError::TooLarge } else { DecompressError::Malformed })
        }
    }
}

/// The window that a frame's header names (RFC 8878, section 3.1.1.1). `None` for what is no frame, and for
/// a frame of one segment, whose window is its content.
fn zstd_window_bytes(frame: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const SINGLE_SEGMENT: u8 = 0x20;
    let [descriptor, window, ..] = frame.strip_prefix(&MAGIC)? else { return None };
    if descriptor & SINGLE_SEGMENT != 0 {
        return None;
    }
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn compress(encoding: Encoding, message: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::best();
        match encoding {
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(message).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(message).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::stream::encode_all(message, 3).unwrap(),
        }
    }

    #[test]
    fn message_is_read_back_if_it_fits() {
        for encoding in ALL {
            for message in [b"".as_slice(), b"x", &[7; 10_000]] {
                let compressed = compress(encoding, message);
                for spare in [0, 1, 100] {
                    let read = encoding.decompress(&compressed, message.len() + spare);
                    assert_eq!(read.as_deref(), Ok(message), "{encoding:?}");
                }
                if let Some(less) = message.len().checked_sub(1) {
                    let refused = encoding.decompress(&compressed, less);
                    assert_eq!(refused, Err(DecompressError::TooLarge), "{encoding:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_compressed_whole_is_refused() {
        for encoding in ALL {
            let whole = compress(encoding, &[7; 1000]);
            let cut = &whole[..whole.len() - 1];
            let longer = [&whole, b"x".as_slice()].concat();
            for bytes in [b"\x12\x00".as_slice(), cut, &longer] {
                let refused = encoding.decompress(bytes, 10_000);
                assert_eq!(refused, Err(DecompressError::Malformed), "{encoding:?} {bytes:?}");
            }
        }
    }

    #[test]
    fn large_window_is_refused() {
        for (window_log, is_taken) in [(23, true), (24, false), (27, false)] {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.include_contentsize(false).unwrap();
            encoder.write_all(&[7; 100]).unwrap();
            let compressed = encoder.finish().unwrap();
            let read = Encoding::Zstd.decompress(&compressed, 100);
            if is_taken {
                assert_eq!(read, Ok(vec![7; 100]));
            } else {
                assert_eq!(read, Err(DecompressError::WindowTooLarge));
            }
        }
    }
}
