//! Compresses messages, and decompresses them into one buffer of a known size (gRPC, "Compression").

use std::io::{self, Read, Write};

use http::HeaderMap;

/// The header that names a request's encoding.
pub(super) const ENCODING_HEADER: &str = "grpc-encoding";
/// The header that lists the supported encodings.
pub(super) const ACCEPT_HEADER: &str = "grpc-accept-encoding";
/// The value of that header.
pub(super) const ACCEPTED: &str = "identity,gzip,deflate,zstd";
/// The compression level of responses: about as fast as a network, and smaller by a few times.
const LEVEL: u8 = 1;
/// The largest window of a zstd frame, which decoders should at least support (RFC 8878, section 3.1.1.1.2).
const WINDOW_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// The compression of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// The zlib format, as in HTTP and gRPC.
    Deflate,
    Zstd,
}

/// The request names an unsupported encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownEncoding;

/// A message cannot be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecompressError {
    /// The message is larger than the buffer.
    TooLarge,
    /// The window is larger than the limit.
    WindowTooLarge,
    /// The message is not valid in its encoding.
    Malformed,
}

impl Encoding {
    /// The encoding in a request's headers. `None` if its messages are not compressed.
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

    /// The fastest encoding that the caller accepts for its response. `None` if it accepts none of them.
    pub(super) fn accepted_by(headers: &HeaderMap) -> Option<Self> {
        let accepted =
            headers.get_all(ACCEPT_HEADER).iter().filter_map(|value| value.to_str().ok());
        let accepted: Vec<&str> =
            accepted.flat_map(|names| names.split(',')).map(str::trim).collect();
        [Self::Zstd, Self::Gzip, Self::Deflate]
            .into_iter()
            .find(|encoding| accepted.contains(&encoding.name()))
    }

    /// The name in headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// Appends the compressed message to the output, which then has at most `limit` bytes. `false` if they are not
    /// enough; then the end of the output is undefined.
    pub(super) fn compress(self, message: &[u8], output: &mut Vec<u8>, limit: usize) -> bool {
        let level = flate2::Compression::new(u32::from(LEVEL));
        let mut limited = LimitedWriter { output, limit };
        match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(&mut limited, level);
                encoder.write_all(message).and_then(|()| encoder.try_finish()).is_ok()
            }
            Self::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(&mut limited, level);
                encoder.write_all(message).and_then(|()| encoder.try_finish()).is_ok()
            }
            Self::Zstd => {
                let encoder = zstd::stream::Encoder::new(&mut limited, i32::from(LEVEL));
                encoder
                    .and_then(|mut encoder| {
                        // Bounds the memory of both sides by the message.
                        encoder.set_pledged_src_size(Some(message.len() as u64))?;
                        encoder.write_all(message)?;
                        encoder.finish()
                    })
                    .is_ok()
            }
        }
    }

    /// Decompresses a message of at most `limit` bytes. Its size is unknown in advance, so the buffer grows until the
    /// message fits.
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

    /// Decompresses a message into a buffer of `capacity` bytes. Needs less than 256 KiB of additional memory: zstd
    /// uses the buffer as its window.
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
                // A message is exactly one stream.
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

/// A writer that fails instead of writing more than a limit.
struct LimitedWriter<'a> {
    output: &'a mut Vec<u8>,
    limit: usize,
}

impl Write for LimitedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.output.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The size of the first buffer for a compressed message of this size.
pub(super) fn first_capacity(compressed_bytes: usize, limit: usize) -> usize {
    const MIN_BYTES: usize = 16 * 1024;
    compressed_bytes.saturating_mul(4).max(MIN_BYTES).min(limit)
}

/// The size of the next buffer after one that was too small.
pub(super) fn next_capacity(capacity: usize, limit: usize) -> usize {
    capacity.saturating_mul(4).min(limit)
}

/// Reads to the end into a buffer of `capacity` bytes.
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

/// The window size in a frame's header (RFC 8878, section 3.1.1.1). `None` if the bytes are not a frame, and for a
/// single-segment frame, whose window is its content.
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
    fn message_is_decompressed_if_it_fits() {
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
    fn compressed_message_is_the_same_after_decompression() {
        for encoding in ALL {
            for message in [b"".as_slice(), b"x", &[7; 1_000_000]] {
                let mut output = b"header".to_vec();
                assert!(encoding.compress(message, &mut output, 100_000), "{encoding:?}");
                assert!(output.len() < 10_000, "{encoding:?}: {}", output.len());
                let compressed = output.strip_prefix(b"header").unwrap();
                let read = encoding.decompress(compressed, message.len());
                assert_eq!(read.as_deref(), Ok(message), "{encoding:?}");
            }
        }
    }

    #[test]
    fn compressed_message_stays_within_the_limit() {
        let mut state = 1_u64;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(100_000)
        .collect();
        for encoding in ALL {
            for limit in [0, 10, 1000, random.len() - 1] {
                let mut output = Vec::new();
                assert!(!encoding.compress(&random, &mut output, limit), "{encoding:?}");
                assert!(output.len() <= limit, "{encoding:?}");
            }
        }
    }

    #[test]
    fn fastest_accepted_encoding_is_used() {
        for (lines, expected) in [
            (&[][..], None),
            (&["identity"], None),
            (&["br, snappy"], None),
            (&["gzip"], Some(Encoding::Gzip)),
            (&["identity, deflate, gzip"], Some(Encoding::Gzip)),
            (&["identity,deflate"], Some(Encoding::Deflate)),
            (&["gzip", "zstd"], Some(Encoding::Zstd)),
            (&["gzipped"], None),
        ] {
            let header = |line: &&str| (ACCEPT_HEADER.parse().unwrap(), line.parse().unwrap());
            let headers = lines.iter().map(header).collect();
            assert_eq!(Encoding::accepted_by(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn malformed_message_is_refused() {
        for encoding in ALL {
            let complete = compress(encoding, &[7; 1000]);
            let truncated = &complete[..complete.len() - 1];
            let longer = [&complete, b"x".as_slice()].concat();
            for bytes in [b"\x12\x00".as_slice(), truncated, &longer] {
                let refused = encoding.decompress(bytes, 10_000);
                assert_eq!(refused, Err(DecompressError::Malformed), "{encoding:?} {bytes:?}");
            }
        }
    }

    #[test]
    fn large_window_is_refused() {
        for (window_log, is_accepted) in [(23, true), (24, false), (27, false)] {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.include_contentsize(false).unwrap();
            encoder.write_all(&[7; 100]).unwrap();
            let compressed = encoder.finish().unwrap();
            let read = Encoding::Zstd.decompress(&compressed, 100);
            if is_accepted {
                assert_eq!(read, Ok(vec![7; 100]));
            } else {
                assert_eq!(read, Err(DecompressError::WindowTooLarge));
            }
        }
    }
}
